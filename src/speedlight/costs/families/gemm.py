"""gemm: C[m,n] = A[m,k] B[k,n], with the quantisation of activations where the format needs it.

Terms: the matrix unit at its peak, where a unit works on a whole tile however small the product; all operands once, those
that stay in the last cache at its bandwidth and the others at main memory's (:mod:`.warm`); one launch, which in 16 bits is prepared
while the kernel before runs, so that a slow one paces small products and adds nothing to large ones; the host's work on a call, which
an eager benchmark waits for where the device is faster; a pass through the kernel's pipeline; in formats whose activations are
quantised at run time, a pass over A (read 16 bit, write the format). What bends them: how well the tiles fill the units (small
tiles, split-k), how deep k is (prologue and epilogue of a tile), how the loop's bytes compare with the last cache.

These terms, and a class's surface over (m, n, k) laid on them, rise with m: their *centre*. What a class's tiles lose in
their last wave and the alignment of m come as ``ripple`` blocks, which are bounded: time never falls below 1 / 1.35 of what
fewer tokens took (:data:`..calibration.model.RIPPLE`, :mod:`..refit.rising`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..._foundation.arrays import Value, ceil, log2, maximum, minimum
from ..._foundation.errors import BadInput
from ..._foundation.expr import sym
from ..._foundation.formats import bytes_per_element, dense_of, number_format
from ...graph.builder import BlockBuilder
from ...graph.grammar import check
from ...graph.ir import Graph
from ...hardware.catalogue import load_machine
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues, Program
from ...lowering.lower import alone
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rising, Rows, TableRules, Target, View, architecture_of
from ..calibration.seen import SEERS, Seen
from ..cost import Conditions, Cost, largest
from ..price import least_of
from .in_models import least_footprint, unless_resident
from .warm import fetched

# The table's formats: (weights, activations as multiplied).
FORMATS = {
    "bfloat16": ("bf16", "bf16"), "float16": ("fp16", "fp16"), "float32": ("fp32", "fp32"), "fp8": ("fp8", "fp8"),
    "fp8_block": ("fp8_block", "fp8"), "nvfp4": ("nvfp4", "nvfp4"), "int8_wo": ("int8", "bf16"),
    "int4_wo": ("int4", "bf16"), "sq": ("int8", "int8"),
}  # fmt: skip
QUANTISED = ("fp8", "fp8_block", "nvfp4", "sq")
# No table has microscaled products: the unit reads their scales, at fp8's rate. Activations in blocks are one format with fp8's.
LIKE_FP8 = {"mxfp8": "fp8"}
WIDE = "16-bit"

M, N, K = Axis("m", 0, 15), Axis("n", 5, 16), Axis("k", 5, 16)
K2, M2, N2 = Axis("k", 5, 17, 2), Axis("m", 0, 16, 2), Axis("n", 5, 17, 2)
FILL = Axis("fill", -9, 8, 0.25)
CACHE = Axis("cache", -12, 3, 0.5)

# Units of three terms; the fit finds how many of them a product takes.
HOST = 1e-6  # seconds of host work a call; a replayed graph has none, an eager stack up to some hundred
LEAST_COLUMNS = 128.0  # columns of output that a unit's matrix instructions work on at the least
LEAST_ROWS = 64.0  # rows, in kernels written for one format (CUTLASS, DeepGEMM)
# In cuBLAS's of 16 bits, which has a tile for every size, and splits k where few tiles would leave units idle.
CUBLAS_ROWS = 16.0
# Weights that the benchmark goes round, so that six times their bytes must fit a cache to stay there. *Inferred*: on an RTX PRO 6000
# (128 MiB) bf16 and fp8 weights in vLLM come at 2.1 TB/s up to 20 MiB and at 1.3 from 22 on.
COPIES = 6.0
CYCLES = 1000.0  # clock cycles of one pass through a kernel's pipeline: address set-up, loads, the k loop, the epilogue
JOULES_PER_FLOP = 0.6e-12  # of a 16-bit FLOP on a server part, all in; at most the board's power can be spent on them

STACK = ("framework", "format")
ARCHITECTURE = ("architecture", "framework", "format", "kernel")
DEVICE = ("device", "framework", "version", "format", "kernel")


# Output tiles of the kernels libraries choose from, by the name their coordinates carry.
TILES = {
    "square": (128.0, 128.0),
    "wide": (128.0, 256.0),
    "tall": (256.0, 128.0),
    "large": (256.0, 256.0),
}
SIDES = sorted({side for tile in TILES.values() for side in tile})


def surface(per: tuple[str, ...], fine: bool) -> tuple[Block, ...]:
    """What is particular to a class over (m, n, k); rises with m together with the terms it lies on.

    An architecture's has nodes an octave of n and k apart, a device's, added to it, half an octave: together they are as fine
    as the device's, at a third less to ship.
    """
    step, smooth = (0.5, 0.03) if fine else (1.0, 0.1)
    axes = (Axis("m", 0, 15, 0.5), Axis("n", 5, 16, step), Axis("k", 5, 16, step))
    return (Block("total", axes, per, (0.006, smooth, smooth), 1e-3),)


def ripples(per: tuple[str, ...]) -> tuple[Block, ...]:
    """What a class's tiles lose in the last wave, and the paths it takes for sizes that are not aligned."""
    return (
        Block("ripple", (Axis("waves", -1, 4, 0.125), K2), per, (0.003, 0.1), 3e-3),
        *(
            Block("ripple", (Axis(f"loss_{tile}", 1, 2, 0.125), Axis(f"waves_{tile}", -2, 6)), per, (0.01, 0.1), 3e-3)
            for tile in TILES
        ),
        Block("ripple", (Axis("waves", -4, 6, 0.5), Axis("bytes", 10, 32, 2), K2), per, (0.03, 0.1, 0.1), 3e-3),
        Block("ripple", (Axis("align", 0, 4), M2), per, (0.0, 0.03), 3e-3),
    )


ONE = Axis("one", 0, 1)
SHARED = (
    Block("matmul", (FILL, K2), (), (0.05, 0.5)),
    Block("matmul", (M,), (), (0.3,)),
    Block("matmul", (N,), (), (0.3,)),
    Block("matmul", (Axis("fill", -9, 8), Axis("k", 5, 17, 4)), STACK, (0.1, 0.3), 1.0),
    Block("power", (ONE,), (), (1.0,)),
    Block("power", (ONE,), ("format",), (1.0,), 0.1),
    Block("memory", (CACHE,), (), (0.1,)),
    Block("memory", (ONE,), ("memory",), (1.0,)),
    Block("memory", (Axis("cache", -12, 2, 2),), STACK, (0.3,), 0.1),
    Block("pipeline", (K2,), (), (0.3,)),
    Block("pipeline", (M2,), (), (0.3,)),
    Block("pipeline", (K2,), STACK, (1.0,), 0.1),
    Block("host", (ONE,), STACK, (0.0,), 1e-3),
    Block("quantize", (Axis("cache_a", -14, 8, 2),), (), (0.3,)),
    Block("quantize", (Axis("cache_a", -14, 8, 2),), STACK, (0.3,), 0.1),
    Block("quantize_pass", (ONE,), STACK, (1.0,), 0.1),
)


def view_at(key: Mapping[str, str], sizes: Rows) -> View:
    """The view of sizes on the device that a key names."""
    return view_row({"gemm_dtype": key["format"]}, sizes, load_machine(key["device"]))


def tiles_rise(fill: np.ndarray) -> np.ndarray:
    """Log of the matmul term along ``fill``: one tile's time until tiles fill the units, then in proportion."""
    rise: np.ndarray = np.log(2.0) * np.maximum(fill + 1.0, 0.0)
    return rise


def bytes_rise(octaves: np.ndarray) -> np.ndarray:
    """Log of a term of bytes along their octaves; where they leave the cache it gains more."""
    rise: np.ndarray = np.log(2.0) * octaves
    return rise


# A kernel's pipeline is as long for one token as for many; what fewer tokens take longer was the first call's warm-up. An eager
# stack's host work is none of a pass's bytes.
RISING = Rising(
    "m", view_at, {
        ("matmul", "fill"): tiles_rise, ("matmul", "m"): np.zeros_like, ("pipeline", "m"): np.zeros_like,
        ("memory", "cache"): bytes_rise, ("quantize", "cache_a"): bytes_rise,
    },
)  # fmt: skip
FAMILY = Family(
    name="gemm",
    parallel=("matmul", "power", "memory", "host", "pace"),
    serial=("launch", "pipeline", "quantize", "quantize_pass"),
    power=2.0,
    powers={(WIDE,): 3.0},  # cuBLAS hides the lesser resource better than kernels with one large tile and no split of k
    shared=SHARED,
    partition=("path",),
    counted=("memory",),
    local=(surface(ARCHITECTURE, False), ripples(ARCHITECTURE), surface(DEVICE, True), ripples(DEVICE)),
    spread=(Block("total", (M2, Axis("n", 5, 17, 3), Axis("k", 5, 17, 3)), (), (0.3, 0.3, 0.3), 1e-6),),
    choice=("m", "n", "k", "align_n", "align_k"),
    rising=RISING,
)  # fmt: skip


class Operands(NamedTuple):
    """How a product's operands are stored and come.

    Attributes:
        weight, activation: bytes of an element.
        wide: whether it multiplies in 16 bits.
        quantised: whether its time includes the quantisation of activations.
        copies: weights taken in turn before the first comes again.
    """

    weight: float
    activation: float
    wide: bool
    quantised: bool
    copies: float = COPIES


@lru_cache(maxsize=32)
def program(weights: str, activations: str) -> Program:
    """One linear layer, lowered as the ideal stack would: a single kernel."""
    b = BlockBuilder("gemm", dtype=activations)
    x = b.input("x", sym("m") * sym("k"))
    y = b.linear("linear", x, sym("n"), sym("k"), rows=sym("m"), weight_format=weights, activation_format=activations)
    out = b.tensors[y]
    b.activation(y, out.elements, "bf16" if activations not in ("fp16", "fp32") else activations)
    graph = Graph("gemm", (b.build([y]),), symbols={"m": None, "n": None, "k": None})
    return alone(check(graph))


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of the table's rows."""
    named = cls["gemm_dtype"]
    if named not in FORMATS:
        raise BadInput(f"gemm_dtype {named}")
    weights, activations = FORMATS[named]
    lowered = program(weights, activations)
    ((_, (values,)),) = lowered.evaluate(dict(rows), [])
    (kernel,) = lowered.blocks[0].kernels
    least = least_of(kernel, values, machine, conditions=Conditions("repeated"))
    quantised = path_of(named, machine) != WIDE
    used = activations if quantised or named not in QUANTISED else "bf16"
    operands = Operands(bytes_per_element(weights), bytes_per_element(used), not quantised, quantised)
    sizes = rows["m"], rows["n"], rows["k"]
    return View(
        terms_of(*sizes, operands, least["matmul"], machine), coords_of(*sizes, operands, machine), largest(least)
    )


def terms_of(
    m: Value, n: Value, k: Value, operands: Operands, matmul: Value, machine: Machine,
    least: Value = 0.0, memory_clock: Value = 1.0,
) -> dict[str, Value]:  # fmt: skip
    """Seconds at the machine's rates.

    Args:
        least: the operands count as at least this many times the last cache (0: as large as they are).
        memory_clock: of the operating point, over the nominal one.
    """
    activation = operands.activation
    engine = machine.engine
    power = np.inf if machine.tdp_w is None else machine.tdp_w
    moved = touched(m, n, k, operands, 1.0)
    rows = CUBLAS_ROWS if operands.wide else LEAST_ROWS
    terms = {
        "matmul": matmul * padding(m, n, engine.units, rows),
        "memory": fetched(moved, machine, touched(m, n, k, operands, operands.copies), least, memory_clock),
        "host": HOST,
        "pace": engine.launch_latency_s if operands.wide else 0.0,
        "launch": 0.0 if operands.wide else engine.launch_latency_s,
        "pipeline": CYCLES / engine.clock_hz,
        "power": 2.0 * m * n * k * JOULES_PER_FLOP * (activation / 2.0) / power,
    }
    if operands.quantised:
        terms["quantize"] = fetched(m * k * (2.0 + activation), machine)
        terms["quantize_pass"] = engine.launch_latency_s + CYCLES / engine.clock_hz
    return terms


def padding(m: Value, n: Value, units: Value, least: float) -> Value:
    """How much longer than at the peak the matrix units are busy: tiles are whole, and at least one unit makes one."""
    rows, columns = maximum(m, least), maximum(n, LEAST_COLUMNS)
    waves = rows * columns / (least * LEAST_COLUMNS * units)
    return rows * columns / (m * n) * maximum(1.0, 1.0 / waves)


def touched(m: Value, n: Value, k: Value, operands: Operands, weights: float) -> Value:
    """Bytes of one input, one output and so many weights: a product's, or what a loop goes through before it comes back to the same ones."""
    return m * k * operands.activation + weights * n * k * operands.weight + m * n * 2.0


def coords_of(m: Value, n: Value, k: Value, operands: Operands, machine: Machine) -> dict[str, Value]:
    """Sizes, waves and bytes over cache: nothing with a rate in it."""
    units = machine.engine.units
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    size = log2(touched(m, n, k, operands, 1.0))
    log_m, log_n, log_k = log2(m), log2(n), log2(k)
    coords = {
        "one": 0.0, "m": log_m, "n": log_n, "k": log_k,
        "cache": log2(touched(m, n, k, operands, operands.copies) / capacity), "cache_a": log_m + log_k + log2(3.0 / capacity), "bytes": size,
        "align": alignment(m), "align_n": alignment(n / 32.0), "align_k": alignment(k / 32.0),
    }  # fmt: skip
    tall, broad = ({side: ceil(size / side) for side in SIDES} for size in (m, n))
    # Whole tiles, smoothly: what rises by steps would make time fall where a wave begins.
    coords["fill"] = maximum(log_m, 7.0) + maximum(log_n, 7.0) - 14.0 - log2(units)
    for tile, (rows, columns) in TILES.items():
        waves = tall[rows] * broad[columns] / units
        coords[f"waves_{tile}"] = log2(waves)
        coords[f"loss_{tile}"] = minimum(ceil(waves) / waves, 2.0)
    coords["waves"] = coords["waves_square"]
    return coords


def path_of(named: str, machine: Machine) -> str:
    """How a product of this format runs: as itself, or in 16 bit with weights expanded on the way (W8A16, W4A16).

    The latter is what stacks do for weight-only formats, and for any format the machine has no unit for.
    """
    compute = number_format(FORMATS[named][1]).compute
    if named not in QUANTISED or machine.engine.peak("matmul", compute)[1]:
        return WIDE
    return named


def alignment(size: Value) -> Value:
    """log2 of the largest power of two, at most 16, that divides a size; 0 of one that is not whole."""
    if isinstance(size, np.ndarray):
        whole = size.astype(np.int64)
        return np.where(whole == size, POWERS.take(whole & 15), 0.0)  # a tenth of the time of four remainders
    return float(POWERS[int(size) & 15]) if size == int(size) else 0.0


POWERS = np.array([4.0, *(float((i & -i).bit_length() - 1) for i in range(1, 16))])  # of the last four bits


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """The fit's class of a row."""
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "kernel": cls.get("kernel_source", ""),
        **_fields(cls["gemm_dtype"], machine),
    }  # fmt: skip


def _fields(named: str, machine: Machine) -> dict[str, str]:
    return {"format": named, "path": path_of(named, machine), "memory": machine.main.name}


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


PRODUCTS = ("linear", "linear_dgrad", "linear_wgrad")


def format_of(kernel: Kernel) -> str | None:
    """The table's name of a linear layer's formats, or of the ones most like them, or None where it has none.

    Weights that are kept in fewer bits than their format has (``bf16~11``, ``int8_2of4``) run as that format does, and whole
    numbers of fewer than 8 bits as the 4-bit ones do: what such kernels lose against their own bytes and products is taken
    to be alike. Their bytes are their own (:func:`bytes_of`).
    """
    weights, activations = kernel.attrs.get("weights"), kernel.attrs.get("activations")
    if weights is None or activations is None:
        return None
    weights, activations = dense_of(number_format(weights).name), number_format(activations).name
    weights = LIKE_FP8.get(weights, weights)
    activations = LIKE_FP8.get(activations, "fp8" if activations == "fp8_block" else activations)
    if (weights, activations) == ("fp16", "fp16"):
        return "bfloat16"  # the same rate and bytes
    if number_format(weights).kind == number_format(activations).kind == "int":
        return "sq"  # products of whole numbers run as INT8 ones, at their own rate
    used = "bf16" if activations == "fp16" else activations
    stored = _stored(weights) if used == "bf16" else weights
    return next((name for name, pair in FORMATS.items() if pair == (stored, used) and name != "float32"), None)


def _stored(weights: str) -> str:
    """Weights that a kernel widens on the way to 16-bit units: every format of at most four bits runs as int4 does (another
    unpacking, the same pipeline), every other of at most eight as int8; their own bytes are counted."""
    bits = number_format(weights).native_bits
    return "int4" if 0 < bits <= 4 else "int8" if bits <= 8 else weights


def bytes_of(kernel: Kernel) -> tuple[float, float]:
    """Bytes of a weight (the mean, where an op keeps its weights in several formats) and of an activation."""
    mean = kernel.attrs.get("weight_bits")
    weight = bytes_per_element(str(kernel.attrs["weights"])) if mean is None else float(mean) / 8
    return weight, bytes_per_element(str(kernel.attrs["activations"]))


@SEERS.register("matmul")
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """A linear layer of a model, or one of the two products of its backward pass: its weights cold unless all fit a cache.

    What m, n and k are in the backward pass the graph says (:mod:`...graph.backward.products`): a library runs the same kernels
    for all three, and no table measured the backward ones apart. Where a stack quantises activations in a kernel of their own, that kernel is priced apart: the term is left out here.
    """
    named = format_of(kernel)
    if kernel.fn not in PRODUCTS or named is None or "matmul" not in cost.least:
        return None
    operands = Operands(*bytes_of(kernel), path_of(named, machine) == WIDE, False, 1.0)

    def coords(at: KernelValues, under: Conditions) -> dict[str, Value]:
        found = coords_of(at.dims["m"], at.dims["n"], at.dims["k"], operands, machine)
        return unless_resident(found, machine, under)

    d = values.dims
    least = least_footprint(machine, conditions)
    matmul = cost.least["matmul"] / conditions.throttle
    terms = terms_of(d["m"], d["n"], d["k"], operands, matmul, machine, least, point.memory_clock)
    if not conditions.device_latency:
        terms["launch"] = terms["pace"] = terms["host"] = 0.0
    resources = {"matmul": "matmul", "memory": machine.main.resource}
    return Seen(FAMILY.name, terms, coords, _fields(named, machine), resources)
