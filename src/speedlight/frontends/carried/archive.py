"""Many graphs in one file, of which one can be read without the rest.

::

    magic (8 bytes) | length of the index (8 bytes, little endian) | index | chunk | chunk | …

The index (JSON, xz) says where each chunk lies and where in a chunk each graph; a chunk (xz) holds the JSON of some
graphs that resemble one another, which is what makes it small. Reading checks every length before it believes it.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.files import parse_json

MAGIC = b"SLGRAPH1"
LARGEST_INDEX = 32 * 2**20
LARGEST_CHUNK = 64 * 2**20
LARGEST_FILE = 256 * 2**20
_HEAD = len(MAGIC) + 8


class Archive:
    """An archive of graphs, opened.

    Attributes:
        facts: what its maker wrote beside the graphs.
        keys: every graph's key.
    """

    def __init__(self, path: Path) -> None:
        """Read the index.

        Raises:
            BadFile: for a file that is none, or damaged.
        """
        self.path = path
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(_HEAD)
                length = int.from_bytes(head[len(MAGIC) :], "little")
                if head[: len(MAGIC)] != MAGIC or _HEAD + length > size or size > LARGEST_FILE:
                    raise BadFile(f"{path} is no archive of graphs", expected="a file that Speedlight wrote")
                index = parse_json(unpacked(file.read(length), LARGEST_INDEX, path).decode(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile(f"cannot read {path}: {error}", expected="an archive of graphs") from None
        try:
            self.facts: Mapping[str, Any] = index["facts"]
            self._chunks = [(int(start), int(length)) for start, length in index["chunks"]]
            self._places = {str(k): (int(c), int(s), int(n)) for k, (c, s, n) in index["graphs"].items()}
            self._start = _HEAD + length
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadFile(f"the index of {path} is damaged: {error}", expected="an archive of graphs") from None
        self._chunk = lru_cache(maxsize=2)(self._read_chunk)

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._places)

    def read(self, key: str) -> Any:
        """The plain data of one graph.

        Raises:
            KeyError: for a key it does not hold.
            BadFile: where the file is damaged.
        """
        number, start, length = self._places[key]
        if not 0 <= number < len(self._chunks):
            raise BadFile(f"the index of {self.path} is damaged", expected="an archive of graphs")
        text = self._chunk(number)[start : start + length]
        return parse_json(text.decode("utf-8", "replace"), f"{self.path.name}: {key}")

    def _read_chunk(self, number: int) -> bytes:
        start, length = self._chunks[number]
        if start < 0 or not 0 < length <= LARGEST_CHUNK:
            raise BadFile(f"the index of {self.path} is damaged", expected="an archive of graphs")
        with self.path.open("rb") as file:
            file.seek(self._start + start)
            return unpacked(file.read(length), LARGEST_CHUNK, self.path)


def unpacked(data: bytes, limit: int, path: Path) -> bytes:
    """Decompress, never beyond ``limit`` bytes.

    Raises:
        BadFile: for damaged data, or more than the limit.
    """
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 * 2**20)
    try:
        text = reader.decompress(data, max_length=limit)
    except lzma.LZMAError as error:
        raise BadFile(f"{path} is damaged: {error}", expected="an archive of graphs") from None
    if not reader.eof:
        raise BadFile(f"{path} is cut short, or holds more than {limit} bytes in one piece")
    return text


def write_archive(path: Path, groups: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> int:
    """Write an archive; the same input gives the same bytes.

    Args:
        groups: graphs' plain data by key; one chunk each.
        facts: kept beside them in the index.

    Returns:
        bytes written.
    """
    chunks, places, packed = [], {}, []
    position = 0
    for number, group in enumerate(groups):
        text = b""
        for key, plain in group.items():
            one = json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode()
            places[key] = (number, len(text), len(one))
            text += one
        data = packed_tightly(text)
        chunks.append((position, len(data)))
        packed.append(data)
        position += len(data)
    index = {"facts": facts, "chunks": chunks, "graphs": places}
    head = packed_tightly(json.dumps(index, separators=(",", ":"), ensure_ascii=False).encode())
    written = b"".join([MAGIC, len(head).to_bytes(8, "little"), head, *packed])
    path.write_bytes(written)
    return len(written)


def packed_tightly(text: bytes) -> bytes:
    return lzma.compress(text, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
