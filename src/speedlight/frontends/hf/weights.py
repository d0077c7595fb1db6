"""What safetensors files say of a model: tensors' formats, shapes and bytes, from their headers alone.

A file begins with the header's length (8 bytes, little-endian) and the header, a JSON object of
``{name: {"dtype", "shape", "data_offsets"}}`` (safetensors README, "Format"). Weights themselves are never read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.files import parse_json, parse_json_bytes, read_text
from ..weight_files.table import Stored

MAX_HEADER_BYTES = 100 * 10**6  # the format's own limit
MOST_TENSORS = 200_000  # of one file; an expert a tensor makes 90,000 of DeepSeek-V3
MOST_FILES = 4_096
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"

# safetensors' names → (bytes per element, our format)
_DTYPES: dict[str, tuple[float, str]] = {
    "F64": (8, "fp64"), "F32": (4, "fp32"), "F16": (2, "fp16"), "BF16": (2, "bf16"), "F8_E4M3": (1, "fp8"),
    "F8_E5M2": (1, "fp8"), "F8_E8M0": (1, "uint8"), "F4": (0.5, "fp4"), "I64": (8, "int64"), "I32": (4, "int32"),
    "I16": (2, "int16"), "I8": (1, "int8"), "U64": (8, "int64"), "U32": (4, "int32"), "U16": (2, "int16"),
    "U8": (1, "uint8"), "BOOL": (1, "bool"), "C64": (8, "complex64"),
}  # fmt: skip
_PLAIN = ("fp64", "fp32", "fp16", "bf16")


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What the weight files hold.

    Attributes:
        bytes: of all tensors.
        elements: number of elements of all tensors.
        by_format: bytes by number format.
        quantised: some tensors are packed or scaled, so ``elements`` is no parameter count.
        files: how many files were read.
    """

    bytes: int
    elements: int
    by_format: Mapping[str, int]
    quantised: bool
    files: int

    @property
    def main_format(self) -> str:
        """The format most bytes are in."""
        return max(self.by_format, key=lambda name: self.by_format[name]) if self.by_format else "bf16"


def read_weights(place: Path) -> WeightFacts | None:
    """Facts of a model folder's safetensors files, or of one such file; None where there is none, or not all of them.

    Raises:
        BadFile: for a header that is truncated, too large or contradicts the file's size.
    """
    found = read_tables(place)
    if found is None:
        return None
    tensors, files = found
    elements, by_format, quantised = 0, dict[str, int](), False
    for tensor in tensors.values():
        elements += tensor.elements
        by_format[tensor.format] = by_format.get(tensor.format, 0) + tensor.bytes
        scaled = tensor.name.endswith(("_scale", "_scale_inv", ".scales"))
        quantised = quantised or tensor.format not in _PLAIN or scaled
    return WeightFacts(sum(by_format.values()), elements, by_format, quantised, files)


def read_tables(place: Path) -> tuple[dict[str, Stored], int] | None:
    """(tensors of a folder's files or of one file, number of files); None where a folder has none, or not all of them.

    A file that an index beside it lists stands for all that the index lists.

    Raises:
        BadFile: see :func:`read_weights`.
    """
    folder = place if place.is_dir() else place.parent
    names = _file_names(folder)
    if not place.is_dir() and place.name != _INDEX and place.name not in (names or ()):
        names = [place.name]
    if names is None:
        if place.name == _INDEX:
            raise BadFile(f"{place} lists files that are not there", expected="all of them beside it")
        return None
    tensors: dict[str, Stored] = {}
    for name in names:
        table = read_table(folder / name)
        if twice := next((n for n in table if n in tensors), None):
            raise BadFile(f"{folder / name}: tensor {twice[:80]!r} is in an earlier file too", expected="each once")
        tensors.update(table)
        if len(tensors) > MOST_TENSORS:
            raise BadFile(f"{folder} has more than {MOST_TENSORS:,} tensors", expected="fewer")
    return tensors, len(names)


def _file_names(folder: Path) -> list[str] | None:
    index = folder / _INDEX
    if index.is_file():
        data = parse_json(read_text(index, "safetensors index"), str(index))
        table = data.get("weight_map") if isinstance(data, Mapping) else None
        if not isinstance(table, Mapping) or not all(isinstance(v, str) for v in table.values()):
            raise BadFile(f"{index} has no weight_map", expected="an object of tensor names and file names")
        names = sorted(set(table.values()))
        if len(names) > MOST_FILES:
            raise BadFile(f"{index} names {len(names):,} files", expected=f"at most {MOST_FILES:,}")
        for name in names:
            if Path(name).name != name or name.startswith("."):
                raise BadFile(f"{index} names the file {name!r}", expected="files beside it")
        return names if all((folder / n).is_file() for n in names) else None
    return [_SINGLE] if (folder / _SINGLE).is_file() else None


def read_header(path: Path) -> dict[str, tuple[int, str, int]]:
    """Tensor name → (bytes, number format, elements) of one file.

    Raises:
        BadFile: see :func:`read_weights`.
    """
    return {name: (t.bytes, t.format, t.elements) for name, t in read_table(path).items()}


def read_table(path: Path) -> dict[str, Stored]:
    """The tensors of one file.

    Raises:
        BadFile: for a header that is truncated, too large, no JSON, or whose tensors are not one after another.
    """
    header, data_bytes = _header(path)
    found: dict[str, Stored] = {}
    places = []
    for name, entry in header.items():
        if name != "__metadata__":
            found[name], start = _tensor(path, name, entry, data_bytes)
            places.append((start, found[name].bytes, name))
    end = 0
    for start, size, name in sorted(places):
        if start != end:  # a name that comes twice leaves a hole, too
            raise BadFile(
                f"{path}: tensor {name[:80]!r} begins at {start:,}, the one before it ends at {end:,}",
                expected="tensors one after another, without holes or overlaps",
            )
        end = start + size
    return found


def _header(path: Path) -> tuple[Mapping[str, Any], int]:
    """(the header, bytes of data behind it)."""
    try:
        if not path.is_file():  # a pipe or a device would block
            raise BadFile(f"cannot read {path}: no such file", expected="a safetensors file")
        size = path.stat().st_size
        with path.open("rb") as stream:
            first = stream.read(8)
            if len(first) < 8:
                raise BadFile(f"{path} has {size} bytes", expected="a safetensors file")
            length = struct.unpack("<Q", first)[0]
            if length > MAX_HEADER_BYTES or length > size - 8:
                raise BadFile(
                    f"{path} states a header of {length} bytes", expected=f"at most {min(MAX_HEADER_BYTES, size - 8)}"
                )
            text = stream.read(length)
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}", expected="a safetensors file") from None
    number = text.count(b'"data_offsets"')
    if number > MOST_TENSORS:
        raise BadFile(f"{path} has {number:,} tensors", expected=f"at most {MOST_TENSORS:,}")
    header = parse_json_bytes(text, f"{path} header")
    if not isinstance(header, Mapping):
        raise BadFile(f"{path} header holds a {type(header).__name__}", expected="a JSON object")
    return header, size - 8 - length


def _tensor(path: Path, name: str, entry: Any, data_bytes: int) -> tuple[Stored, int]:
    """(the tensor, where its data begins)."""

    def wrong(what: str, expected: str) -> BadFile:
        return BadFile(f"{path}: tensor {name[:80]!r} {what}", expected=expected)

    if not isinstance(entry, Mapping):
        raise wrong(f"is a {type(entry).__name__}", "an object with dtype, shape and data_offsets")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise wrong(f"has the dtype {dtype!r}"[:120], "one of " + ", ".join(_DTYPES))
    if not isinstance(shape, list) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**48 for n in shape
    ):
        raise wrong("has no usable shape", "a list of sizes")
    if len(shape) > 16:
        raise wrong(f"has {len(shape)} dimensions", "at most 16")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(isinstance(n, int) and not isinstance(n, bool) for n in offsets)
        or not 0 <= offsets[0] <= offsets[1] <= data_bytes
    ):
        raise wrong(f"has data_offsets {offsets!r}"[:120], f"two offsets within the file's {data_bytes} bytes of data")
    width, number = _DTYPES[dtype]
    count, size = math.prod(shape), offsets[1] - offsets[0]
    if size != math.ceil(count * width):
        raise wrong(f"has {size} bytes for {count} elements of {dtype}", f"{math.ceil(count * width)} bytes")
    return Stored(name, tuple(shape), number, size), offsets[0]
