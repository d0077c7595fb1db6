"""Number formats: exact bits an element occupies, scales and zero points included.

``bits`` counts what a value costs in memory or on a link, block overhead spread over the block:
MXFP4 has 32 values of 4 bits and one 8-bit scale (OCP Microscaling v1.0, §5), so 4.25; NVFP4 has blocks of 16
with an FP8 scale, so 4.5 (NVIDIA, "Introducing NVFP4", 2025; its one fp32 scale per tensor is not counted);
DeepSeek's block fp8 has one fp32 scale per 128 × 128 weights (arXiv 2412.19437 §3.3), so 8 + 32/16384.

Two families are named by rule instead of listed:

* ``bf16~11``: values of bf16 kept in 11 bits each, whatever the packing is (entropy codes, bitmaps over unstructured zeros,
  look-up tables and their overhead). They are widened to bf16 before anything is computed with them.
* ``fp16_2of4``: two of every four values are zero and left out (NVIDIA's structured sparsity, arXiv 2104.08378 §3). The places of the
  two kept cost 2 bits each: (2·16 + 4) / 4 = 9 bits a value. Formats of 4 bits are pruned in pairs (two pairs of every four),
  so that four values cost 2·4 + 2 = 10 bits (PTX ISA, ``mma.sp`` for ``.u4``/``.s4``).

llama.cpp's block formats (``q4_k`` and the like) store a whole number of bytes per block of 32, 64, 128 or 256 values:
:data:`BLOCKS` holds both, as ggml's ``ggml-common.h`` lays the blocks out; all of them are exact binary fractions of a bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from .errors import UnknownName


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """One number format.

    Attributes:
        name: our spelling.
        bits: bits per element in storage, block scales included.
        compute: the multiplier format a matrix unit uses for it at most (its own name if it has one).
        kind: ``float``, ``int`` or ``bool``.
        native_bits: bits of the value itself, without scales; a format has a finer value when this is smaller.
    """

    name: str
    bits: float
    compute: str
    kind: str = "float"
    native_bits: int = 0


def _make(*rows: tuple[str, float, str, str, int]) -> dict[str, NumberFormat]:
    return {r[0]: NumberFormat(*r) for r in rows}


# llama.cpp's block formats: (values in a block, bytes of a block, bits of a value without scales).
BLOCKS: dict[str, tuple[int, int, int]] = {
    "q1_0": (128, 18, 1), "q2_k": (256, 84, 2), "q3_k": (256, 110, 3), "q4_0": (32, 18, 4), "q4_1": (32, 20, 4),
    "q4_k": (256, 144, 4), "q5_0": (32, 22, 5), "q5_1": (32, 24, 5), "q5_k": (256, 176, 5), "q6_k": (256, 210, 6),
    "q8_0": (32, 34, 8), "q8_1": (32, 40, 8), "q8_k": (256, 292, 8), "iq1_s": (256, 50, 1), "iq1_m": (256, 56, 1),
    "iq2_xxs": (256, 66, 2), "iq2_xs": (256, 74, 2), "iq2_s": (256, 82, 2), "iq3_xxs": (256, 98, 3),
    "iq3_s": (256, 110, 3), "iq4_nl": (32, 18, 4), "iq4_xs": (256, 136, 4), "tq1_0": (256, 54, 2), "tq2_0": (256, 66, 2),
}  # fmt: skip

FORMATS: dict[str, NumberFormat] = _make(
    ("fp64", 64, "fp64", "float", 64),
    ("fp32", 32, "fp32", "float", 32),
    ("tf32", 32, "tf32", "float", 19),  # lives in memory as fp32
    ("fp16", 16, "fp16", "float", 16),
    ("bf16", 16, "bf16", "float", 16),
    ("fp8", 8, "fp8", "float", 8),  # e4m3 or e5m2, per-tensor or per-channel scale
    ("fp8_block", 8 + 32 / 16384, "fp8", "float", 8),
    ("mxfp8", 8.25, "fp8", "float", 8),
    ("mxfp6", 6.25, "fp6", "float", 6),
    ("mxfp4", 4.25, "fp4", "float", 4),
    ("nvfp4", 4.5, "fp4", "float", 4),
    ("fp6", 6, "fp6", "float", 6),
    ("fp4", 4, "fp4", "float", 4),
    ("int64", 64, "int64", "int", 64),
    ("int32", 32, "int32", "int", 32),
    ("int16", 16, "int16", "int", 16),
    ("int8", 8, "int8", "int", 8),
    ("uint8", 8, "int8", "int", 8),
    ("int4", 4.125, "int4", "int", 4),  # groups of 128 with a 16-bit scale, symmetric (GPTQ's usual setting)
    ("int4_g64", 4.25, "int4", "int", 4),
    ("int4_g32", 4.5, "int4", "int", 4),
    ("int4_asym", 4.15625, "int4", "int", 4),  # AWQ: group 128, 16-bit scale and 4-bit zero point
    ("int3", 3.125, "int4", "int", 3),
    ("int2", 2.125, "int4", "int", 2),
    ("int4_values", 4, "int4", "int", 4),  # the values alone: their scales are tensors of their own (ONNX)
    ("int2_values", 2, "int4", "int", 2),
    ("nf4", 4.5, "int4", "int", 4),  # blocks of 64 with an fp32 scale (QLoRA, arXiv 2305.14314 §2)
    ("nf4_double", 4 + 8 / 64 + 32 / (64 * 256), "int4", "int", 4),  # its scales quantised once more (§3)
    ("int1", 1, "int4", "int", 1),  # signs, one scale a matrix (BitDelta, arXiv 2402.10193 §3.1)
    ("ternary", 2, "int4", "int", 2),  # −1, 0, 1: four to a byte (BitNet b1.58's packing)
    ("ternary_base3", 1.6, "int4", "int", 2),  # five to a byte, since 3^5 ≤ 2^8
    ("bool", 8, "int8", "bool", 8),
    ("complex64", 64, "fp32", "float", 64),
    *((name, 8 * size / values, "int4" if bits <= 4 else "int8", "int", bits)
      for name, (values, size, bits) in BLOCKS.items()),
)  # fmt: skip

_ALIASES = {
    "float64": "fp64", "double": "fp64", "float32": "fp32", "float": "fp32", "f32": "fp32", "float16": "fp16",
    "half": "fp16", "f16": "fp16", "bfloat16": "bf16", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "e4m3": "fp8",
    "float8": "fp8", "f8": "fp8", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8", "float8_e4m3fnuz": "fp8",
    "f8_e4m3": "fp8", "f8_e5m2": "fp8", "f64": "fp64", "fp8-block": "fp8_block", "i8": "int8", "w8a8": "int8",
    "i64": "int64", "i32": "int32", "i16": "int16", "long": "int64", "u8": "uint8", "awq": "int4_asym",
    "gptq": "int4", "w4a16": "int4", "q4": "int4", "4bit": "int4", "8bit": "int8", "float4": "fp4",
    "float4_e2m1fn_x2": "nvfp4",
}  # fmt: skip


PATTERN = "_2of4"


def dense_of(name: str) -> str:
    """The format without what is left out of it: ``fp16`` of ``fp16_2of4``, ``bf16`` of ``bf16~11``."""
    return name.partition("~")[0].removesuffix(PATTERN)


def is_sparse(name: str) -> bool:
    """Two of every four values are left out."""
    return name.partition("~")[0].endswith(PATTERN)


def sparse_bits(found: NumberFormat) -> float:
    """Bits a value of a format costs with two of every four left out, the places of the others included."""
    places = 4 if found.native_bits >= 8 else 2
    return (2 * found.native_bits + places) / 4 + (found.bits - found.native_bits)


def packed(name: str, bits: float) -> str:
    """The name of a format whose values are kept in so many bits each."""
    found = number_format(name)
    return found.name if found.bits == bits else f"{found.name.partition('~')[0]}~{bits:.10g}"


@lru_cache(maxsize=1024)
def number_format(name: str) -> NumberFormat:
    """Look up a number format by our name or a common alias (``torch.bfloat16``, ``float16``, ``awq``).

    Raises:
        UnknownName: suggesting the nearest.
    """
    key = str(name).lower().removeprefix("torch.").strip()
    key = _ALIASES.get(key, key)
    if key in FORMATS:
        return FORMATS[key]
    base, tilde, size = key.partition("~")
    try:
        if tilde:
            found, bits = number_format(base), float(size)
            if not 0 < bits <= 64:
                raise ValueError
            return replace(found, name=f"{found.name}~{bits:.10g}", bits=bits)
        if key.endswith(PATTERN):
            found = number_format(key.removesuffix(PATTERN))
            compute = found.compute + PATTERN
            return replace(found, name=found.name + PATTERN, bits=sparse_bits(found), compute=compute)
    except (ValueError, UnknownName):
        pass
    raise UnknownName("number format", str(name), [*FORMATS, *_ALIASES])


def is_format(name: str) -> bool:
    """It is the name of a number format, as we spell it."""
    try:
        return number_format(name).name == name
    except UnknownName:
        return False


@lru_cache(maxsize=256)
def bytes_per_element(name: str) -> float:
    """Bytes an element of the format occupies, scales included."""
    return number_format(name).bits / 8


def multiply_format(*names: str) -> str:
    """The format a matrix unit multiplies operands of these formats in: the widest of them.

    Weight-only formats (int4 weights with bf16 activations) are expanded to the activation's format before
    the multiplication, as GPTQ, AWQ and Marlin kernels do (arXiv 2408.11743 §3). Where two of every four weights are left out,
    so are their products, in whatever format (Sparse-MARLIN, same paper, §3.5).
    """
    found = [number_format(dense_of(number_format(n).name)) for n in names]
    widest = max(found, key=lambda f: (f.native_bits, f.bits))
    return widest.compute + (PATTERN if any(is_sparse(number_format(n).name) for n in names) else "")
