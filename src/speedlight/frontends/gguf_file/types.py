"""GGML's tensor types → our number formats.

The numbers are those of ``enum ggml_type`` in ggml's ``ggml.h`` (GGUF specification, "File structure"); block layouts
are in :data:`speedlight._foundation.formats.BLOCKS`. Types 4, 5, 31–33 and 36–38 were removed from the format.
"""

from __future__ import annotations

from ..._foundation.formats import BLOCKS

# type → our format
TYPES: dict[int, str] = {
    0: "fp32", 1: "fp16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 9: "q8_1", 10: "q2_k", 11: "q3_k",
    12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl",
    21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "fp64", 29: "iq1_m",
    30: "bf16", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4", 40: "nvfp4", 41: "q1_0",
}  # fmt: skip
REMOVED = frozenset({4, 5, 31, 32, 33, 36, 37, 38})
_PLAIN = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "int16": 2, "int32": 4, "int64": 8}
_SHARED = {"mxfp4": (32, 17), "nvfp4": (64, 36)}  # formats others have too, in ggml's blocks


def block_of(number: str) -> tuple[int, int]:
    """(values in a block, its bytes) of one of our formats as GGUF stores it."""
    if number in _PLAIN:
        return 1, _PLAIN[number]
    return _SHARED[number] if number in _SHARED else BLOCKS[number][:2]
