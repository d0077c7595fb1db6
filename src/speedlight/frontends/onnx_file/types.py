"""ONNX's element types as number formats."""

from __future__ import annotations

from ..._foundation.errors import BadFile

# TensorProto.DataType → our format. Values of under 8 bits come without scales here: those are tensors of their own.
FORMATS: dict[int, str] = {
    1: "fp32", 2: "uint8", 3: "int8", 4: "int16", 5: "int16", 6: "int32", 7: "int64", 8: "int64", 9: "bool", 10: "fp16",
    11: "fp64", 12: "int32", 13: "int64", 14: "complex64", 15: "complex64", 16: "bf16", 17: "fp8", 18: "fp8", 19: "fp8",
    20: "fp8", 21: "int4_values", 22: "int4_values", 23: "fp4", 24: "fp8", 25: "int2_values", 26: "int2_values",
    27: "fp6", 28: "fp6",
}  # fmt: skip
# Bits an element is stored in; strings have no size of their own (8 bytes stand for a reference).
BITS: dict[int, int] = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2, 27: 6, 28: 6,
}  # fmt: skip
FLOATING = frozenset({"fp64", "fp32", "fp16", "bf16", "fp8", "fp6", "fp4", "complex64"})
QUANTIZED = frozenset({"int8", "uint8", "int4_values", "int2_values", "fp8", "fp6", "fp4"})


def format_of(number: int, what: str) -> str:
    """Our format of an element type.

    Raises:
        BadFile: for a number no version of ONNX gave a meaning.
    """
    if number not in FORMATS:
        raise BadFile(f"{what} has the element type {number}", expected="one of ONNX's element types (1 to 28)")
    return FORMATS[number]
