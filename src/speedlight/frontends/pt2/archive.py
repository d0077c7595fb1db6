"""Exported programs as archives: the JSON members, taken out of a zip file that may be hostile.

``torch.export.save`` writes a zip file. Since PyTorch 2.8 it holds ``NAME/models/model.json`` (the program) and
``NAME/data/weights/model_weights_config.json`` (which file of raw bytes each weight is); before,
``serialized_exported_program.json`` beside pickles. Nothing but these JSON members is ever opened.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..._foundation.errors import BadFile, Unsupported

MOST_PROGRAM = 192 * 2**20  # bytes of the program's JSON; a 30,000-call graph with stack traces takes 60 MB
MOST_CONFIG = 64 * 2**20
MOST_DIRECTORY = 8 * 2**20  # bytes of a zip file's directory: some 80,000 members
_PROGRAM = re.compile(r"(?:^|/)(?:models/[^/]+\.json|serialized_exported_program\.json)$")
_WEIGHTS = re.compile(r"(?:^|/)data/weights/[^/]+_weights_config\.json$")
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


@dataclass(frozen=True)
class Members:
    """The JSON members of an archive; ``weights`` is None in older ones."""

    program: bytes
    weights: bytes | None


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip file whose directory is of a usual size.

    Raises:
        BadFile: for what is missing, no zip file, or one that claims a huge directory.
    """
    try:
        if not path.is_file():
            raise BadFile(f"cannot read {path}: no such file", expected="a .pt2 file")
        size = _directory_size(path)
        if size is None:
            raise BadFile(f"{path} is no zip archive", expected="a file that torch.export.save wrote")
        if size > MOST_DIRECTORY:
            raise BadFile(f"{path} has a directory of {size:,} bytes", expected=f"at most {MOST_DIRECTORY:,}")
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise BadFile(f"cannot read {path}: {error}", expected="a file that torch.export.save wrote") from None


def _directory_size(path: Path) -> int | None:
    """Bytes of the central directory as its end record states (PKWARE APPNOTE 4.3.14–4.3.16); None without one."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - 65_557))
        tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        return None
    stated = int(struct.unpack_from("<I", tail, at + 12)[0])
    wide = tail.rfind(_END64)
    if stated == 0xFFFFFFFF or tail[max(at - 20, 0) : at].startswith(_LOCATOR64):
        return int(struct.unpack_from("<Q", tail, wide + 40)[0]) if 0 <= wide <= len(tail) - 48 else None
    return stated


def read_members(path: Path) -> Members:
    """The program and its table of weights.

    Raises:
        BadFile: for a broken archive, or members too large to be what they claim.
        Unsupported: for archives of several programs.
    """
    with open_zip(path) as archive:
        names = archive.namelist()
        programs = [n for n in names if _PROGRAM.search(n)]
        if not programs:
            raise BadFile(
                f"{path} holds no exported program ({', '.join(names[:3])[:120] or 'it is empty'})",
                expected="models/NAME.json, as torch.export.save writes it",
            )
        if len(programs) > 1:
            raise Unsupported(f"{path} holds {len(programs)} programs", expected="one program in a file")
        weights = next((n for n in names if _WEIGHTS.search(n)), None)
        return Members(
            unpacked(path, archive, programs[0], MOST_PROGRAM),
            unpacked(path, archive, weights, MOST_CONFIG) if weights else None,
        )


def unpacked(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """One member; its stated size is not believed while it unpacks.

    Raises:
        BadFile: for a member that is broken or has more than ``most`` bytes.
    """
    try:
        stated = archive.getinfo(name).file_size
        if stated > most:
            raise BadFile(f"{path}: {name[:80]} unpacks to {stated:,} bytes", expected=f"at most {most:,}")
        with archive.open(name) as stream:
            data = stream.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise BadFile(f"{path}: {name[:80]} cannot be unpacked: {error}", expected="a whole archive") from None
    if len(data) > most:
        raise BadFile(f"{path}: {name[:80]} unpacks to more than {most:,} bytes", expected="what its header says")
    return data
