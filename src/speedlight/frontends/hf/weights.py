"""What safetensors files say of a model: tensors' formats, shapes and bytes, from their headers alone.

A file begins with the header's length (8 bytes, little-endian) and the header, a JSON object of
``{name: {"dtype", "shape", "data_offsets"}}`` (safetensors README, "Format"). Weights themselves are never read.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.files import parse_json, read_text

MAX_HEADER_BYTES = 100 * 10**6  # the format's own limit
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


def read_weights(folder: Path) -> WeightFacts | None:
    """Facts of a model folder's safetensors files; None where it has none, or not all of them.

    Raises:
        BadFile: for a header that is truncated, too large or contradicts the file's size.
    """
    names = _file_names(folder)
    if names is None:
        return None
    total, elements, by_format, quantised = 0, 0, dict[str, int](), False
    for name in names:
        for tensor, (size, number, count) in read_header(folder / name).items():
            total, elements = total + size, elements + count
            by_format[number] = by_format.get(number, 0) + size
            quantised = quantised or number not in _PLAIN or tensor.endswith(("_scale", "_scale_inv", ".scales"))
    return WeightFacts(total, elements, by_format, quantised, len(names))


def _file_names(folder: Path) -> list[str] | None:
    index = folder / _INDEX
    if index.is_file():
        data = parse_json(read_text(index, "safetensors index"), str(index))
        table = data.get("weight_map") if isinstance(data, Mapping) else None
        if not isinstance(table, Mapping) or not all(isinstance(v, str) for v in table.values()):
            raise BadFile(f"{index} has no weight_map", expected="an object of tensor names and file names")
        names = sorted(set(table.values()))
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
    try:
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
            header = parse_json(stream.read(length).decode("utf-8", "replace"), f"{path} header")
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}", expected="a safetensors file") from None
    if not isinstance(header, Mapping):
        raise BadFile(f"{path} header holds a {type(header).__name__}", expected="a JSON object")
    data_bytes = size - 8 - length
    return {name: _tensor(path, name, entry, data_bytes) for name, entry in header.items() if name != "__metadata__"}


def _tensor(path: Path, name: str, entry: Any, data_bytes: int) -> tuple[int, str, int]:
    def wrong(what: str, expected: str) -> BadFile:
        return BadFile(f"{path}: tensor {name[:80]!r} {what}", expected=expected)

    if not isinstance(entry, Mapping):
        raise wrong(f"is {json.dumps(entry)[:40]}", "an object with dtype, shape and data_offsets")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if dtype not in _DTYPES:
        raise wrong(f"has the dtype {dtype!r}", "one of " + ", ".join(_DTYPES))
    if not isinstance(shape, list) or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape):
        raise wrong("has no usable shape", "a list of sizes")
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
    return size, number, count
