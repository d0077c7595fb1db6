"""What the code behind a kernel's name decides of the experts' products: the height of its tiles, the rate it can reach.

Most are known by their times alone. Marlin's rule is its source's: the block of rows is the smallest of 8, 16, 32, 48 and 64 that
the mean rows of an expert fill by less than 0.9 (vLLM, ``fused_marlin_moe.py``), with the experts of the rank as the number of
experts but all tokens' picks as the rows, so that blocks are higher than needed when experts are split. It multiplies with
``mma.sync``, an Ampere SM's 2,048 16-bit FLOP a clock at most: measured it holds 950 to 1,140 on A100, H100 and B200, half of them
on a desktop's SM (int4 rows of the moe table), wherever wider instructions exist that it does not use.

Triton's experts look a tile up in a file for (experts of the rank, width of the rank, device). Where a stack brings none, 16-bit
products take tiles of 16 rows as long as a batch has no more tokens than the rank has experts and of 64 rows beyond (SGLang,
``fused_moe_triton_config.py``, ``get_default_config``; vLLM until 0.14). Times say so row by row: on an H100 4096 × 1536 / 8 of 128 takes
1.35 times as long for 160 tokens as for 128, with experts on two ranks as long for 80 as for 64 (there is a file for 64 experts of 1,536).

FlashInfer's CUTLASS experts run their first tile where nothing has tuned them, which on Hopper is one of 128 rows and few columns: times of
bf16 and fp8 rows stand still up to 128 rows an expert, step there, and are those of 108 and 222 TFLOP/s of whole tiles on an H100 and
an H200 alike, so that it is neither memory nor arithmetic that holds them back but rows read again for every few columns.
TensorRT-LLM tunes the same kernels.
"""

from __future__ import annotations

import numpy as np

from ..._foundation.arrays import Value, log2, minimum, where
from ...hardware.machine import Engine, Machine
from ..calibration.naming import INSTRUCTIONS, implementation
from ..calibration.samples import architecture_of
from .tile_files import has_file

MARLIN = "marlin"
TRITON = "triton"
CUTLASS = "cutlass"
PLAIN = "triton, tiles by rule"  # where there is no file of tiles
UNTUNED = "cutlass, first tile"
STEPS = 10.0  # log2 of the mean rows from which on nothing changes
FEW, MANY = STEPS + 1.0, STEPS + 2.0  # steps of the two tiles of the rule
FIRST = STEPS + 3.0  # step of the untuned tile
LEAST, LARGEST = 8.0, 128.0  # rows of a tile
ALIGNED = 16.0  # what a size must be a multiple of for Triton to load more than an element at once
FULL = 0.9  # share of a block that Marlin fills at most before it takes the next
HOPPER = "Hopper-hbm"  # :func:`..calibration.samples.architecture_of`
SYNC_FLOPS = 2048.0  # 16-bit FLOP of mma.sync a clock and SM, the most any generation does


def tile(mean: Value, ep: Value, code: str) -> tuple[Value, Value]:
    """(step, rows of a tile) where experts of all ranks have ``mean`` rows on average."""
    if code == MARLIN:
        height: Value = 64.0 + 0.0 * mean
        for block in (48.0, 32.0, 16.0, 8.0):
            height = where(mean * ep < FULL * block, block, height)
        return np.ceil(log2(height)), height
    if code == UNTUNED:
        return FIRST + 0.0 * mean, LARGEST + 0.0 * mean
    step = np.clip(np.ceil(log2(mean) - 1e-6), 0.0, STEPS)
    return step, np.clip(np.exp2(step), LEAST, LARGEST)


def ruled(tokens: Value, held: Value, width: Value, device: str, usual: tuple[Value, Value]) -> tuple[Value, Value]:
    """The same by Triton's rule, for a rank that holds ``held`` experts of a width; the usual ones where there is a file."""
    few, filed = tokens <= held, has_file(device, held, width)
    step, height = where(few, FEW, MANY), where(few, 16.0, 64.0)
    return where(filed, usual[0], step), where(filed, usual[1], height)


def unaligned(width: Value, code: str) -> Value:
    """1 where Triton loads elements one by one: along sizes that are no multiples of 16.

    The width of the rank is what the second product sums over. On an H100 2048 × 768 / 8 of 128 takes 1.12 ms for 16,384 tokens with a width
    of 96, 0.96 with 48 and 1.89 with 24; 2688 × 1856 / 6 takes 1.9 ms with 464, 3.6 with 232 and 2.5 with 116 (vLLM, bf16).
    """
    return where(np.asarray(width) % ALIGNED != 0.0, 1.0, 0.0) if code in (TRITON, PLAIN) else 0.0 * width


def reachable(peak: Value, engine: Engine, code: str) -> Value:
    """The matrix units' rate that the code's instructions can reach."""
    return minimum(peak, engine.units * engine.clock_hz * SYNC_FLOPS) if code == MARLIN else peak


def code_of(kernel: str, framework: str, number_format: str, machine: Machine) -> str:
    """The code behind a kernel's name, as far as it decides tiles and rates."""
    if not kernel:
        return usual_code(framework, number_format, machine)
    code = implementation(kernel)
    if code == CUTLASS and framework != "trtllm" and number_format in ("bfloat16", "fp8"):
        return UNTUNED if architecture_of(machine) == HOPPER else code
    by_rule = number_format == "bfloat16" and (framework == "sglang" or kernel == "vllm_fused_moe")
    return PLAIN if code == TRITON and by_rule else code


def without_gate(code: str, machine: Machine) -> str:
    """What runs experts without a gate where a code runs those with one: FlashInfer's CUTLASS kernels for SGLang's Triton, from Hopper on."""
    kind = architecture_of(machine)
    if code != PLAIN or kind.startswith("Ampere"):
        return code
    return UNTUNED if kind == HOPPER else CUTLASS


def usual_code(framework: str, number_format: str, machine: Machine) -> str:
    """The code a framework runs experts of 16-bit activations with where no kernel is named (blank: as any other)."""
    kind = architecture_of(machine)
    if framework not in ("sglang", "vllm") or machine.vendor != "nvidia":
        return ""
    if number_format == "bfloat16":
        by_rule = kind != "Blackwell-hbm" if framework == "sglang" else kind.startswith("Ampere")
        return PLAIN if by_rule else TRITON if framework == "vllm" and kind == HOPPER else ""
    if number_format == "fp8":
        return UNTUNED if framework == "vllm" and kind == HOPPER else ""
    if number_format == "int4_wo":
        return "" if framework == "sglang" and kind == "Blackwell-hbm" else MARLIN
    return MARLIN if number_format == "w4a16_mxfp4" and kind not in INSTRUCTIONS else ""
