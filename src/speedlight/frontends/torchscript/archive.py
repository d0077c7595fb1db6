"""A TorchScript archive: a zip file that may be hostile → its code, its pickles, the sizes of its storages."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..._foundation.errors import BadFile
from ..pt2.archive import open_zip, unpacked

MOST_CODE = 4 * 2**20  # characters of program in all; a network of 10,000 calls has 1 MB
MOST_PICKLE = 32 * 2**20
MOST_NUMBER = 16  # bytes of a constant that is a number


@dataclass(frozen=True)
class Archive:
    """What an archive holds.

    Attributes:
        code: qualified name of a source file (``__torch__.timm.models.resnet``) → its text.
        data, constants: the pickles of the module, and of what its code calls ``CONSTANTS``.
        storages: name of each member that is raw bytes (``data/0``, ``constants/3``) → its size in bytes.
        numbers: contents of the constants small enough to be one number.
    """

    code: Mapping[str, str]
    data: bytes
    constants: bytes
    storages: Mapping[str, int]
    numbers: Mapping[str, bytes]


def is_torchscript(path: Path) -> bool:
    """A zip file with the members that only ``torch.jit.save`` writes: code, and the constants it uses."""
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"PK\x03\x04":
                return False
    except OSError:
        return False
    with open_zip(path) as archive:
        return _root(archive.namelist()) is not None


def _root(names: list[str]) -> str | None:
    """The folder that everything in the archive lies in."""
    for name in names:
        if name.endswith("/constants.pkl"):
            root = name.removesuffix("constants.pkl")
            if root.count("/") == 1 and any(n.startswith(f"{root}code/") for n in names):
                return root
    return None


def read_archive(path: Path) -> Archive:
    """Read all but the weights.

    Raises:
        BadFile: for a broken archive, or members too large to be what they claim.
    """
    with open_zip(path) as archive:
        names = archive.namelist()
        root = _root(names)
        if root is None or f"{root}data.pkl" not in names:
            raise BadFile(f"{path} holds no TorchScript module", expected="a file that torch.jit.save wrote")
        sources = [n for n in names if n.startswith(f"{root}code/") and n.endswith(".py")]
        _limited(path, archive, sources)
        code = {}
        for name in sources:
            text = unpacked(path, archive, name, MOST_CODE)
            try:
                code[name.removeprefix(f"{root}code/").removesuffix(".py").replace("/", ".")] = text.decode()
            except UnicodeDecodeError as error:
                raise BadFile(f"{path}: {name[:80]} is no text: {error.reason}", expected="UTF-8") from None
        storages = {
            n.removeprefix(root): archive.getinfo(n).file_size
            for n in names if n.startswith((f"{root}data/", f"{root}constants/"))
        }  # fmt: skip
        numbers = {
            n: unpacked(path, archive, root + n, MOST_NUMBER)
            for n, size in storages.items() if n.startswith("constants/") and 0 < size <= MOST_NUMBER
        }  # fmt: skip
        return Archive(
            code, unpacked(path, archive, f"{root}data.pkl", MOST_PICKLE),
            unpacked(path, archive, f"{root}constants.pkl", MOST_PICKLE), storages, numbers,
        )  # fmt: skip


def _limited(path: Path, archive: zipfile.ZipFile, sources: list[str]) -> None:
    stated = sum(archive.getinfo(n).file_size for n in sources)
    if stated > MOST_CODE:
        raise BadFile(f"{path} has {stated:,} bytes of code", expected=f"at most {MOST_CODE:,}")
