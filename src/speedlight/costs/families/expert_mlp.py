"""The fused expert MLP of one rank: permute, grouped gate+up products, activation, grouped down products, finalise.

Terms: the matrix unit on the rows that fell on this rank; the weights of the distinct experts touched (and the products'
operands) through main memory; the passes over tokens and rows around the products; launches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum
from ..._foundation.formats import bytes_per_element, multiply_format, number_format
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import Family, View
from ..price import peak_for
from .expert_load import Load

# The table's formats: (weights, activations as multiplied).
FORMATS = {
    "bfloat16": ("bf16", "bf16"), "fp8": ("fp8", "fp8"), "fp8_block": ("fp8_block", "fp8"), "nvfp4": ("nvfp4", "nvfp4"),
    "int4_wo": ("int4", "bf16"), "w4a16_mxfp4": ("mxfp4", "bf16"), "w4a8_mxfp4_mxfp8": ("mxfp4", "mxfp8"),
}  # fmt: skip
# Formats fitted together: what is multiplied, and whether weights are expanded first.
GROUPS = {
    "bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8", "w4a8_mxfp4_mxfp8": "fp8", "nvfp4": "fp4",
    "int4_wo": "weight-only", "w4a16_mxfp4": "weight-only",
}  # fmt: skip

KERNEL = ("kernel",)
ARCHITECTURE = ("architecture", "kernel", "format")
DEVICE = ("device", "framework", "version", "kernel", "format")

M, M2 = Axis("m", 0, 14), Axis("m", 0, 14, 2)
T2, T3 = Axis("t", 0, 14, 2), Axis("t", 0, 15, 3)
H, F2 = Axis("h", 10, 13), Axis("f", 4, 14, 2)
WIDE, TALL = Axis("wide", -8, 8), Axis("tall", -6, 10, 2)

FAMILY = Family(
    name="moe",
    parallel=("matmul", "memory"),
    serial=("launch", "tokens"),
    power=2.5,
    shared=(
        Block("matmul", (M, F2), (), (0.3, 0.3)),
        Block("matmul", (WIDE, H), (), (0.3, 0.3)),
        Block("memory", (Axis("cache", -8, 7),), (), (0.3,)),
        Block("memory", (WIDE, H), (), (0.3, 0.3)),
        Block("memory", (TALL, F2), (), (0.3, 0.3)),
        Block("launch", (T2, Axis("e", 4, 10, 2)), (), (0.3, 0.3)),
        Block("launch", (H, F2), (), (0.3, 0.3)),
        Block("tokens", (Axis("cache_a", -10, 6, 2),), (), (0.3,)),
        Block("matmul", (M2,), KERNEL, (0.1,), 0.03),
        Block("memory", (Axis("cache", -8, 8, 4),), KERNEL, (0.1,), 0.03),
        Block("memory", (Axis("m", 0, 15, 3), ), KERNEL, (0.1,), 0.03),
        Block("launch", (Axis("h", 10, 13, 3),), KERNEL, (0.3,), 0.03),
        Block("launch", (Axis("f", 4, 14, 5),), KERNEL, (0.3,), 0.03),
        Block("launch", (T3,), KERNEL, (0.3,), 0.03),
        Block("tokens", (T3,), KERNEL, (0.3,), 0.03),
        Block("matmul", (Axis("m", 0, 15, 3),), ARCHITECTURE, (0.3,), 0.03),
        Block("memory", (Axis("cache", -8, 8, 4),), ARCHITECTURE, (0.3,), 0.03),
        Block("launch", (Axis("t", 0, 14, 7),), ARCHITECTURE, (0.3,), 0.03),
        Block("tokens", (Axis("t", 0, 14, 7),), ARCHITECTURE, (0.3,), 0.03),
    ),
    local=(
        (
            Block(
                "total", (Axis("t", 0, 14, 0.5), Axis("ep", 0, 8, 2), Axis("even", 0, 1)), DEVICE, (0.1, 0.3, 0.3), 0.03
            ),
            Block("total", (Axis("mean", -7, 11, 0.5), F2), DEVICE, (0.1, 0.3), 0.03),
            Block("total", (T2, F2, H), DEVICE, (0.1, 0.3, 0.3), 0.03),
            Block("total", (Axis("d", 0, 9), M), DEVICE, (0.1, 0.1), 0.03),
            Block("total", (Axis("flops", 20, 44, 2), Axis("bytes", 16, 34, 2)), DEVICE, (0.1, 0.1), 0.03),
        ),
    ),
    spread=(Block("total", (T2, H), (), (0.3, 0.3), 1e-6),),
    partition=("op",),
    choice=("scale", "gated", "ep", "tp", "k"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Experts:
    """Sizes of one rank's expert MLP.

    Attributes:
        tokens: tokens of the batch whose picks may fall on the rank.
        hidden, inter: input width, and inner width on this rank.
        picks, experts: top-k of E.
        tp, ep: how experts' widths, and experts, are split.
        gated: 1 where there is a gate matrix.
        weights, activations: formats.
    """

    tokens: Value
    hidden: Value
    inter: Value
    picks: Value
    experts: Value
    tp: Value
    ep: Value
    gated: Value
    weights: str
    activations: str


def view(part: Experts, found: Load, even: float, machine: Machine) -> View:
    """The view of one rank's experts under a load; ``even`` = 1 where the load is balanced."""
    engine = machine.engine
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    bandwidth = machine.main.bandwidth
    peak = peak_for(machine, "matmul", multiply_format(part.weights, part.activations), None, OperatingPoint()).flops
    h, f, t = part.hidden, part.inter, part.tokens
    matrices = 2.0 + part.gated
    wide = 1.0 + part.gated  # first product's outputs per inner column
    element = h * f * matrices
    weight = element * bytes_per_element(part.weights)
    activation = bytes_per_element(part.activations)
    distinct, rows = found.distinct, found.rows

    weights = distinct * weight
    operands = rows * (h * activation + wide * f * 2.0 + f * activation + h * 2.0)
    passes = 2.0 * t * h * 2.0 + rows * (h * (2.0 + activation) + h * 2.0 + wide * f * 2.0 + f * activation)
    flops = 2.0 * rows * element
    terms = {
        "matmul": flops / peak,
        "memory": (weights + operands) / bandwidth,
        "launch": engine.launch_latency_s or 1e-6,
        "tokens": passes / bandwidth,
    }
    mean_all = t * part.picks / part.experts
    mean = rows / distinct
    tiles = found.tiles[128]
    coords = {
        "t": np.log2(t), "m": np.log2(mean), "mean": np.log2(mean_all), "hot": np.log2(found.hottest / mean),
        "h": np.log2(h), "f": np.log2(f), "e": np.log2(part.experts), "k": np.log2(part.picks), "d": np.log2(distinct),
        "ep": np.log2(part.ep), "tp": np.log2(part.tp), "even": even + 0.0 * t, "gated": part.gated, "scale": scale_bits(part.weights) + 0.0 * t,
        "wide": np.log2(tiles * ceil(wide * f / 128.0) / engine.units),
        "tall": np.log2(tiles * ceil(h / 128.0) / engine.units), "cache": np.log2((weights + operands) / capacity),
        "cache_a": np.log2(passes / capacity),
        "flops": np.log2(flops), "bytes": np.log2(weights + operands),
    }  # fmt: skip
    return View(terms, coords, limit(part, found, machine, peak, capacity))


def scale_bits(name: str) -> float:
    """log2 of the bits a weight's share of scales takes: tells formats of one multiplier apart (kernels are chosen by it)."""
    found = number_format(name)
    return float(np.log2(max(found.bits - found.native_bits, 2.0**-12)))


def limit(part: Experts, found: Load, machine: Machine, peak: Value, capacity: Value) -> Value:
    """Seconds physics allows: the least rows at the peak, or the weights they need and the tokens' way in and out.

    A repeated benchmark may keep up to the cache's capacity resident from call to call, as in residency.py.
    """
    element = part.hidden * part.inter * (2.0 + part.gated)
    touched = found.least_distinct * element * bytes_per_element(part.weights)
    cold = touched * (1.0 - minimum(1.0, capacity / maximum(touched, 1.0)))
    return maximum(2.0 * found.least_rows * element / peak, cold / machine.main.bandwidth)
