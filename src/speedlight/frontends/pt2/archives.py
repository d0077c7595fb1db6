"""Files of PyTorch that are neither exported programs nor TorchScript: what each is, and what to give instead. None is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from ..._foundation.errors import BadFile, Unsupported
from .archive import open_zip


def refuse(path: Path) -> NoReturn:
    """Say what the file is and why it is not read.

    Raises:
        Unsupported: for pickled state dicts.
        BadFile: for anything else.
    """
    try:
        with path.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}", expected="a model file") from None
    if first[:2] == b"PK":
        with open_zip(path) as archive:
            names = archive.namelist()
        if any("/models/" in n and n.endswith(".json") for n in names):
            raise Unsupported(f"{path} holds an exported program", expected="the ending .pt2", hint="rename it")
        if any(n.endswith("data.pkl") for n in names):
            raise _pickled(path)
        raise BadFile(f"{path} is a zip archive of no kind PyTorch writes", expected="a model file")
    if first[:1] == b"\x80":
        raise _pickled(path)
    raise BadFile(f"{path} begins with {first!r}", expected="a model file", hint="a text or an unfinished download?")


def _pickled(path: Path) -> Unsupported:
    return Unsupported(
        f"{path} is a pickle, which would run code to be read",
        expected="safetensors with a config.json, a .gguf or a .pt2 file",
        hint="to explain the module itself, give file.py:factory",
    )
