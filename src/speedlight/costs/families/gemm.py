"""gemm: C[m,n] = A[m,k] B[k,n], with the quantisation of activations where the format needs it.

Terms: the matrix unit at its peak; all operands through main memory once; one launch; in formats whose activations are
quantised at run time, a pass over A (read 16 bit, write the format). What bends them: how many waves of tiles the output
makes (tile and wave quantisation, split-k), how deep k is (prologue and epilogue of a tile), how the operands compare with
the last cache (benchmark loops keep them there), how much each unit streams (latency of short streams).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum, where
from ..._foundation.errors import BadInput
from ..._foundation.expr import sym
from ..._foundation.formats import bytes_per_element, number_format
from ...graph.builder import BlockBuilder
from ...graph.grammar import check
from ...graph.ir import Graph
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues, Program
from ...lowering.lower import lower
from ...stacks.stack import load_stack
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from ..calibration.seen import SEERS, Seen
from ..cost import Conditions, Cost
from ..price import price

# The table's formats: (weights, activations as multiplied).
FORMATS = {
    "bfloat16": ("bf16", "bf16"), "float16": ("fp16", "fp16"), "float32": ("fp32", "fp32"), "fp8": ("fp8", "fp8"),
    "fp8_block": ("fp8_block", "fp8"), "nvfp4": ("nvfp4", "nvfp4"), "int8_wo": ("int8", "bf16"),
    "int4_wo": ("int4", "bf16"), "sq": ("int8", "int8"),
}  # fmt: skip
QUANTISED = ("fp8", "fp8_block", "nvfp4", "sq")

M, N, K = Axis("m", 0, 15), Axis("n", 5, 16), Axis("k", 5, 16)
K2, M2, N2 = Axis("k", 5, 17, 2), Axis("m", 0, 16, 2), Axis("n", 5, 17, 2)
WAVES = Axis("waves", -9, 8, 0.25)
CACHE = Axis("cache", -14, 8, 0.5)
STREAM = Axis("stream", 6, 26)

# Units of two terms; the fit finds how many of them a product takes.
CYCLES = 1000.0  # clock cycles of one pass through a kernel's pipeline: address set-up, loads, the k loop, the epilogue
JOULES_PER_FLOP = 0.6e-12  # of a 16-bit FLOP on a server part, all in; at most the board's power can be spent on them

FRAMEWORK = ("framework",)
ARCHITECTURE = ("architecture", "framework", "kernel")
DEVICE = ("device", "framework", "version", "kernel")


# Output tiles of the kernels libraries choose from, by the name their coordinates carry.
TILES = {
    "small": (64.0, 64.0),
    "square": (128.0, 128.0),
    "wide": (128.0, 256.0),
    "tall": (256.0, 128.0),
    "large": (256.0, 256.0),
}


def local(per: tuple[str, ...], ridge: float) -> tuple[Block, ...]:
    """What is particular to a class: its surface over (m, n, k), what its tiles lose in the last wave, alignment paths."""
    return (
        Block("total", (Axis("m", 0, 15, 0.5), N, K), per, (0.006, 0.1, 0.1), ridge * 0.1),
        Block("total", (Axis("waves", -1, 4, 0.125), K2), per, (0.003, 0.1), ridge),
        Block("total", (Axis("waves_small", -2, 4, 0.125), K2), per, (0.003, 0.1), ridge),
        Block("total", (Axis("waves_wide", -2, 4, 0.125), K2), per, (0.003, 0.1), ridge),
        Block("total", (Axis("waves_tall", -2, 4, 0.125), K2), per, (0.003, 0.1), ridge),
        *(
            Block("total", (Axis(f"loss_{tile}", 1, 2, 0.125), Axis(f"waves_{tile}", -2, 6)), per, (0.01, 0.1), ridge)
            for tile in ("square", "wide", "tall", "large")
        ),
        Block("total", (Axis("waves", -4, 6, 0.5), Axis("bytes", 10, 32, 2), K2), per, (0.03, 0.1, 0.1), ridge),
        Block("total", (Axis("flops", 10, 44), Axis("bytes", 10, 33)), per, (0.03, 0.03), ridge),
        Block("total", (Axis("align", 0, 4), M2), per, (0.0, 0.03), ridge),
    )


FAMILY = Family(
    name="gemm",
    parallel=("matmul", "power", "memory"),
    serial=("launch", "pipeline", "quantize"),
    power=2.5,
    shared=(
        Block("matmul", (WAVES, K2), (), (0.05, 0.5)),
        Block("matmul", (M,), (), (0.3,)),
        Block("matmul", (N,), (), (0.3,)),
        Block("matmul", (Axis("waves", -9, 8), ), FRAMEWORK, (0.1,), 0.1),
        Block("memory", (CACHE,), (), (0.1,)),
        Block("memory", (STREAM,), (), (0.3,)),
        Block("memory", (M2, K2), (), (0.3, 0.3)),
        Block("memory", (Axis("cache", -14, 8, 2),), FRAMEWORK, (0.3,), 0.1),
        Block("memory", (Axis("one", 0, 1),), ("memory",), (1.0,), 1e-2),
        Block("power", (Axis("one", 0, 1),), (), (1.0,)),
        Block("pipeline", (K2,), (), (0.3,)),
        Block("pipeline", (M2,), (), (0.3,)),
        Block("pipeline", (K2,), FRAMEWORK, (1.0,), 0.1),
        Block("quantize", (Axis("cache_a", -14, 8, 2),), FRAMEWORK, (0.3,), 0.1),
    ),
    local=(local(ARCHITECTURE, 3e-3), local(DEVICE, 3e-3)),
    spread=(Block("total", (M2, Axis("n", 5, 17, 3), Axis("k", 5, 17, 3)), (), (0.3, 0.3, 0.3), 1e-6),),
    partition=("format",),
    choice=("m", "n", "k", "align_n", "align_k"),
)  # fmt: skip


@lru_cache(maxsize=32)
def program(weights: str, activations: str) -> Program:
    """One linear layer, lowered as the ideal stack would: a single kernel."""
    b = BlockBuilder("gemm", dtype=activations)
    x = b.input("x", sym("m") * sym("k"))
    y = b.linear("linear", x, sym("n"), sym("k"), rows=sym("m"), weight_format=weights, activation_format=activations)
    out = b.tensors[y]
    b.activation(y, out.elements, "bf16" if activations not in ("fp16", "fp32") else activations)
    graph = Graph("gemm", (b.build([y]),), symbols={"m": None, "n": None, "k": None})
    return lower(check(graph), load_stack("ideal"))


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of the table's rows."""
    number_format = cls["gemm_dtype"]
    if number_format not in FORMATS:
        raise BadInput(f"gemm_dtype {number_format}")
    weights, activations = FORMATS[number_format]
    lowered = program(weights, activations)
    ((_, (values,)),) = lowered.evaluate(dict(rows), [])
    (kernel,) = lowered.blocks[0].kernels
    cost = price(kernel, values, machine, conditions=Conditions("repeated"))
    sizes = (bytes_per_element(weights), bytes_per_element(activations), number_format in QUANTISED)
    return view(rows["m"], rows["n"], rows["k"], sizes, cost.least["matmul"], cost.limit, machine)


def view(
    m: Value, n: Value, k: Value, sizes: tuple[float, float, bool], matmul: Value, limit: Value, machine: Machine
) -> View:
    """The view of one product; ``sizes`` = bytes of a weight, of an activation, whether activations are quantised."""
    weight, activation, quantised = sizes
    engine = machine.engine
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    total = m * k * activation + n * k * weight + m * n * 2.0
    bandwidth = machine.main.bandwidth
    quantised_bytes = m * k * (2.0 + activation) if quantised else 0.0

    coords = {
        "one": 0.0, "m": np.log2(m), "n": np.log2(n), "k": np.log2(k),
        "cache": np.log2(total / capacity), "cache_a": np.log2(maximum(m * k * 3.0, 1.0) / capacity),
        "stream": np.log2(total / engine.units), "flops": np.log2(m * n * k * 2.0), "bytes": np.log2(total),
        "align": alignment(m), "align_n": alignment(n / 32.0), "align_k": alignment(k / 32.0),
    }  # fmt: skip
    for tile, (rows, columns) in TILES.items():
        waves = ceil(m / rows) * ceil(n / columns) / engine.units
        coords[f"waves_{tile}"] = np.log2(waves)
        coords[f"loss_{tile}"] = minimum(ceil(waves) / waves, 2.0)
    coords["waves"] = coords["waves_square"]
    terms = {
        "matmul": matmul,
        "memory": total / bandwidth,
        "launch": engine.launch_latency_s or 1e-6,
        "pipeline": CYCLES / engine.clock_hz,
        "power": (2.0 * m * n * k * JOULES_PER_FLOP * activation / 2.0) / (machine.tdp_w or np.inf),
        "quantize": quantised_bytes / bandwidth,
    }
    return View(terms, coords, limit)


def alignment(size: Value) -> Value:
    """log2 of the largest power of two, at most 16, that divides a size."""
    result: Value = 0.0
    for power in (2.0, 4.0, 8.0, 16.0):
        result = result + (np.mod(size, power) == 0)
    return result


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": cls["gemm_dtype"], "memory": machine.main.name, "kernel": cls.get("kernel_source", ""),
    }  # fmt: skip


TABLES.register("gemm")(
    TableRules(
        name="gemm",
        targets=(Target("latency", FAMILY, view_row),),
        measured=("latency",),
        numbers={"m": 1, "n": 1, "k": 1},
        texts=("framework", "version", "gemm_dtype", "kernel_source"),
        group=("n", "k"),
        slices=("device", "gemm_dtype", "framework"),
        key=key,
    )
)


# Operands this many doublings above the last cache: every byte comes from main memory (the fit is flat from here on).
COLD = 3.0


def format_of(kernel: Kernel) -> str | None:
    """The table's name of a linear layer's formats, or None where it has none."""
    weights, activations = kernel.attrs.get("weights"), kernel.attrs.get("activations")
    if weights is None or activations is None:
        return None
    weights, activations = number_format(weights).name, number_format(activations).name
    if (weights, activations) == ("fp16", "fp16"):
        return "bfloat16"  # the same rate and bytes
    stored = "int4" if weights.startswith("int4") else weights
    used = "bf16" if activations == "fp16" else activations
    return next((name for name, pair in FORMATS.items() if pair == (stored, used) and name != "float32"), None)


@SEERS.register("matmul")
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """A linear layer of a model: one product, its weights cold unless all of them fit a cache.

    Where a stack quantises activations in a kernel of their own, that kernel is priced apart: the term is left out here.
    """
    named = format_of(kernel)
    if kernel.fn != "linear" or kernel.phase != "forward" or named is None or "matmul" not in cost.least:
        return None
    d = values.dims
    weights, activations = (bytes_per_element(f) for f in FORMATS[named])
    matmul = cost.least["matmul"] / conditions.throttle
    seen = view(d["m"], d["n"], d["k"], (weights, activations, False), matmul, cost.limit, machine)
    launch = seen.terms["launch"] if conditions.device_latency else 0.0
    terms = {**seen.terms, "memory": seen.terms["memory"] / point.memory_clock, "launch": launch}
    cache = machine.last_cache
    resident = conditions.weights_bytes <= (cache.capacity_bytes if cache is not None else 0.0)
    warm = seen.coords["cache"]
    coords = {**seen.coords, "cache": where(resident, warm, maximum(warm, COLD))}
    resources = {"matmul": "matmul", "memory": machine.main.resource}
    return Seen(FAMILY.name, View(terms, coords, cost.limit), {"format": named}, resources)
