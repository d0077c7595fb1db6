"""The header of a GGUF file: metadata and the tensor table (GGUF specification, ggml ``docs/gguf.md``).

Read here and not by the ``gguf`` library, which maps the whole file and builds every token of the vocabulary: a header is
wanted from the first bytes of a stream too, and a hostile one must be refused before anything is allocated. Little-endian
files of versions 2 and 3 (version 1 counted in 32 bits and was gone after a month).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from ..._foundation.errors import BadFile, Unsupported
from ..weight_files.reading import Cursor, Source
from ..weight_files.table import Stored
from .types import REMOVED, TYPES, block_of

MOST_BYTES = 192 * 2**20  # of a header; vocabularies of 256 k tokens with their merges take 10 MB
MOST_KEYS = 20_000
MOST_TENSORS = 200_000  # DeepSeek-V3 has 1,025; an expert a tensor makes that 45,000
MOST_VALUES = 4_000_000  # metadata values visited one by one (strings have no fixed size)
MOST_KEPT = 4_096  # longer arrays (vocabularies) are counted, not kept
MOST_TEXT = 16 * 2**20
MOST_NAME = 4_096
MOST_DIMS = 4

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_NUMBERS = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"), 4: _U32,
    5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<?"), 10: _U64, 11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}  # fmt: skip
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Length:
    """A long array of the metadata: only how many entries it has."""

    entries: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says before its data.

    Attributes:
        metadata: by key; long arrays as their :class:`Length`.
        tensors: in the file's order, each name once.
    """

    metadata: dict[str, Any]
    tensors: tuple[Stored, ...]


def read_header(source: Source) -> Header:
    """Parse a header.

    Raises:
        BadFile: for anything but a whole, consistent header: the message says what and at which byte.
        Unsupported: for big-endian files and version 1.
    """
    return _Parser(source).header()


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.cursor = Cursor(source, MOST_BYTES)
        self.values = 0

    def header(self) -> Header:
        if self.source.size < 24 or self.cursor.take(4) != b"GGUF":
            begins = "" if self.source.size < 4 else f" (it begins with {self.source.read(0, 4)!r})"
            raise BadFile(f"{self.source.name} is no GGUF file{begins}", expected="a file that begins with GGUF")
        version = self.u32()
        if version & 0xFFFF == 0 or version == 1:
            what = "version 1" if version == 1 else "big-endian"
            raise Unsupported(f"{self.source.name} is a GGUF file of {what}", expected="little-endian, version 2 or 3")
        if version not in (2, 3):
            raise self.cursor.bad(f"GGUF version {version}", "version 2 or 3")
        tensors, keys = self.count("tensors", MOST_TENSORS, 24), self.count("metadata keys", MOST_KEYS, 13)
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self.name("metadata key")
            if key in metadata:
                raise self.cursor.bad(f"the metadata key {key!r} comes twice", "each key once")
            metadata[key] = self.value(self.u32())
        return Header(metadata, self.table(tensors, metadata.get("general.alignment", 32)))

    # values ------------------------------------------------------------------------------------------------------

    def u32(self) -> int:
        return int(self.cursor.number(_U32))

    def u64(self) -> int:
        return int(self.cursor.number(_U64))

    def count(self, what: str, most: int, least_bytes: int) -> int:
        number = self.u64()
        if number > most:
            raise self.cursor.bad(f"{number:,} {what}", f"at most {most:,}")
        if number * least_bytes > self.cursor.remaining:
            raise self.cursor.bad(f"{number:,} {what} in {self.cursor.remaining:,} bytes")
        return number

    def name(self, what: str) -> str:
        length = self.u64()
        if not 0 < length <= MOST_NAME:
            raise self.cursor.bad(f"a {what} of {length:,} bytes", f"1 to {MOST_NAME:,}")
        try:
            return self.cursor.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.cursor.bad(f"a {what} that is not UTF-8", "UTF-8 text") from None

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _NUMBERS:
            return self.cursor.number(_NUMBERS[kind])
        if kind == _STRING:
            length = self.u64()
            if length > MOST_TEXT:
                raise self.cursor.bad(f"a text of {length:,} bytes", f"at most {MOST_TEXT:,}")
            return self.cursor.take(length).decode("utf-8", "replace")
        if kind == _ARRAY:
            if depth > 1:
                raise self.cursor.bad("arrays nested three deep", "arrays of numbers or texts")
            return self.array(depth)
        raise self.cursor.bad(f"a value of type {kind}", "types 0 to 12")

    def array(self, depth: int) -> Any:
        kind, number = self.u32(), self.u64()
        form = _NUMBERS.get(kind)
        if form is not None and number > MOST_KEPT:
            self.cursor.skip(number * form.size)
            return Length(number)
        self.values += number
        if self.values > MOST_VALUES or (form is None and number * 8 > self.cursor.remaining):
            raise self.cursor.bad(f"an array of {number:,} entries", f"at most {MOST_VALUES:,}, within the file")
        if form is not None:
            return [entry[0] for entry in form.iter_unpack(self.cursor.take(number * form.size))]
        if kind == _STRING and number > MOST_KEPT:
            self.cursor.skip_texts(number)
            return Length(number)
        if number > MOST_KEPT:
            raise self.cursor.bad(f"an array of {number:,} arrays", f"at most {MOST_KEPT:,}")
        return [self.value(kind, depth + 1) for _ in range(number)]

    # tensors -----------------------------------------------------------------------------------------------------

    def table(self, count: int, alignment: Any) -> tuple[Stored, ...]:
        if isinstance(alignment, bool) or not isinstance(alignment, int) or not 0 < alignment <= 2**20 or alignment % 8:
            raise self.cursor.bad(f"general.alignment is {alignment!r}", "a multiple of 8")
        found: dict[str, Stored] = {}
        places: list[tuple[int, int, str]] = []
        for _ in range(count):
            tensor, offset = self.tensor()
            if tensor.name in found:
                raise self.cursor.bad(f"the tensor {tensor.name!r} comes twice", "each tensor once")
            if offset % alignment:
                raise self.cursor.bad(
                    f"the tensor {tensor.name!r} is at offset {offset:,}", f"a multiple of {alignment}"
                )
            found[tensor.name] = tensor
            places.append((offset, tensor.bytes, tensor.name))
        data = -(-self.cursor.position // alignment) * alignment
        end = 0
        for offset, size, name in sorted(places):
            if offset < end:
                raise self.cursor.bad(f"the tensor {name!r} overlaps the one before it", "tensors one after another")
            end = offset + size
        if data + end > self.source.size:
            raise BadFile(
                f"{self.source.name} has {self.source.size:,} bytes, its tensors end at {data + end:,}",
                expected="a whole file",
                hint="was the download complete?",
            )
        return tuple(found.values())

    def tensor(self) -> tuple[Stored, int]:
        name = self.name("tensor name")
        dims = self.u32()
        if dims > MOST_DIMS:
            raise self.cursor.bad(f"the tensor {name[:80]!r} has {dims} dimensions", f"at most {MOST_DIMS}")
        sizes = [self.u64() for _ in range(dims)]
        kind, offset = self.u32(), self.u64()
        number = TYPES.get(kind)
        if number is None:
            hint = "quantise the model again: this packing was removed" if kind in REMOVED else ""
            raise BadFile(
                f"{self.source.name}: the tensor {name[:80]!r} has the type {kind}",
                expected="a type of GGUF as of 2026", hint=hint,
            )  # fmt: skip
        values, size = block_of(number)
        elements = 1
        for n in sizes:
            elements *= n
            if not 0 < n < 2**48 or elements >= 2**56:
                raise self.cursor.bad(
                    f"the tensor {name[:80]!r} has the sizes {sizes}", "sizes of a tensor that exists"
                )
        if elements % values or (sizes and sizes[0] % values):
            raise self.cursor.bad(f"the tensor {name[:80]!r} has rows of {sizes[0]}", f"a multiple of {values}")
        return Stored(name, tuple(reversed(sizes)), number, elements // values * size), offset


__all__ = ["Header", "Length", "read_header"]
