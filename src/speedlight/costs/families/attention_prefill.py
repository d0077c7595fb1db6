"""attention_prefill and attention_encoder: many new tokens at once, causal or not.

Terms, in seconds at the machine's rates:

- ``matmul``: the two products over the tiles a causal or sliding mask leaves (128 × 128 scores, smaller for short
  sequences): tiles on the diagonal are computed whole.
- ``warp``: the same products by kernels whose warps read keys and values from shared memory, once for each 16 query rows:
  128 B a clock feed half of Hopper's matrix rate, a quarter of server Blackwell's, all of older and desktop parts'.
- ``masked``: tiles that a window hides and that a kernel computes nevertheless.
- ``convert``: an fp8 cache widened in software, where no matrix unit knows fp8.
- ``exp``: one exponential a score on the special-function units, which work beside the matrix units
  (FlashAttention-3, arXiv 2407.08608 §3.1; FlashAttention-4 computes part of them on the vector units).
- ``longest``: the last query tile of a sequence sees all keys, one tile after another on one unit, where a tile's products
  and exponentials wait for each other: the load imbalance of a causal mask, and what is left where there are fewer tiles
  than units.
- ``memory``: queries, keys, values and outputs through main memory once, as far as the last cache does not keep them.
- ``cache``: every query tile streams its keys and values from the last cache.
- ``items``: a tile costs its unit at least a memory round trip.
- ``launch``: the launch floor; ``chain``: dependent round trips to main memory that even the shortest kernel makes.

What bends them: tiles against units (waves), the sequence's length, queries per KV head (grouped kernels pack them into one
tile), head size (its padding), bytes against the last cache.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum
from ..._foundation.formats import bytes_per_element
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View
from ..price import peak_for
from . import attention
from .attention import (
    LAUNCHES,
    NO_WINDOW,
    Shape,
    beyond_registers,
    by_format,
    cost_of,
    key,
    shape_of,
    widened,
)
from .in_models import memory_latency
from .warm import cold_share

TILE = 128.0
# Register kernels: a warp multiplies 16 query rows by keys that it reads from shared memory, at 128 B a clock and unit.
WARP_ROWS, SHARED_BYTES = 16.0, 128.0
WIDENED_ROWS = 16.0  # query rows for which keys are widened anew (*inferred* from B60's rows with an fp8 cache)
RARE = 1.0 / 64.0  # kernels skip tiles outside the window unless their own rows say otherwise
# Share of the matrix peak that attention kernels reach where nothing else binds: 50-73 % by FlashAttention-2 on A100
# (arXiv 2307.08691), 0.4-0.7 in these tables. Where a fit starts from, and all that is known of a kernel never seen.
ATTAINED = 0.6
DEPENDENT = 10.0  # steps of the shortest kernel: tables, queries, keys, scores, values, sum, output

LENGTH = Axis("length", 0, 14)
LENGTH2 = Axis("length", 0, 14, 2)
WORK = Axis("work", 0, 15)
DIM = Axis("dim", 6, 9, 0.5)
GROUP = Axis("group", 0, 7)
WINDOW = Axis("window", 0, 1)
WORK3 = Axis("work", 0, 15, 3)

CODE, DRIVEN = ("implementation",), ("instructions",)
CODE_DRIVEN = (*CODE, *DRIVEN)  # a stack's name for a kernel may mean another one on another kind of device
ARCHITECTURE = ("architecture", "framework", "kernel")
FORMAT = (*ARCHITECTURE, "format")
DEVICE = ("device", "framework", "version", "kernel", "format")


def kernels(dim: Axis) -> tuple[Block, ...]:
    """What a kernel does on an architecture, whatever the format."""
    return (
        Block("total", (WORK, LENGTH), ARCHITECTURE, (0.05, 0.05), 1e-2),
        Block("total", (dim, LENGTH2, WORK3), ARCHITECTURE, (0.002, 0.1, 0.1), 1e-2),
        Block("total", (WINDOW, LENGTH2, WORK3), ARCHITECTURE, (0.0, 0.1, 0.1), 1e-2),
    )


def formats(dim: Axis) -> tuple[Block, ...]:
    """What it does in a format."""
    return (
        Block("total", (WORK, Axis("length", 0, 14, 0.5), dim), FORMAT, (0.05, 0.02, 0.002), 1e-2),
        Block("total", (WINDOW, LENGTH, WORK3), FORMAT, (0.0, 0.05, 0.1), 1e-2),
        Block("total", (Axis("waves", -2, 5, 0.25), LENGTH2), FORMAT, (0.005, 0.3), 1e-2),
        Block("total", (GROUP, LENGTH2, WORK3), FORMAT, (0.1, 0.1, 0.1), 1e-2),
        Block("total", (Axis("odd", 0, 1), LENGTH2, WORK3), FORMAT, (0.0, 0.1, 0.1), 1e-2),
        Block("total", (Axis("excess", 0, 8), dim), FORMAT, (0.1, 0.002), 1e-2),
        Block("total", (Axis("batch", 0, 8, 2), LENGTH2, Axis("heads", 0, 8, 2)), FORMAT, (0.1, 0.1, 0.1), 1e-2),
        Block("total", (Axis("cache", -6, 6, 0.5),), FORMAT, (0.05,), 1e-2),
    )


def devices(dim: Axis) -> tuple[Block, ...]:
    """What is particular to a device of it, and to a version."""
    return (
        Block("total", (Axis("work", 0, 16, 2), LENGTH2), DEVICE, (0.05, 0.05), 1e-2),
        Block("total", (dim, Axis("length", 0, 16, 4)), DEVICE, (0.01, 0.1), 1e-2),
        Block("total", (Axis("waves", -2, 5, 0.5),), DEVICE, (0.02,), 1e-2),
        Block("total", (WINDOW, LENGTH2), DEVICE, (0.0, 0.1), 1e-2),
        Block("total", (GROUP,), DEVICE, (0.1,), 1e-2),
    )


def family(name: str, dim: Axis, dim_device: Axis, choice: tuple[str, ...], stiff: float) -> Family:
    """The family of a table.

    Args:
        dim, dim_device: axes of head size, for architectures and for devices.
        choice: coordinates the kernel depends on.
        stiff: ridge of what all kinds of device share of ``matmul`` and ``longest``: how strongly the tables must
            disagree with :data:`ATTAINED`. The encoder's know two kinds of device, of which neither speaks for a third.
    """
    return Family(
        name=name,
        parallel=("matmul", "warp", "masked", "convert", "exp", "longest", "memory", "cache", "items"),
        serial=("launch", "chain"),
        power=2.5,
        shared=(
            Block("matmul", (Axis("waves", -8, 9), LENGTH2), (), (0.1, 0.2), stiff),
            Block("matmul", (GROUP,), (), (0.2,), stiff),
            Block("matmul", (Axis("waves", -8, 9, 2), LENGTH2), DRIVEN, (0.1, 0.2), 0.01),
            Block("matmul", (dim,), DRIVEN, (0.01,), 0.01),
            Block("matmul", (dim,), CODE_DRIVEN, (0.01,), 0.01),
            Block("matmul", (LENGTH2,), CODE_DRIVEN, (0.2,), 0.01),
            Block("matmul", (WINDOW, LENGTH2), CODE_DRIVEN, (0.0, 0.2), 0.01),
            Block("warp", (LENGTH2,), (), (0.2,), 0.01),
            Block("warp", (LENGTH2,), CODE, (0.2,), 0.01),
            Block("warp", (dim,), CODE, (0.01,), 0.01),
            Block("masked", (LENGTH2,), (), (0.2,), 0.001),
            Block("masked", (LENGTH2,), CODE, (0.2,), 0.01),
            # Stiff: rows of one kind of device cannot tell its exponentials from its products, and what is put down to
            # the wrong one misleads the next device.
            Block("exp", (LENGTH2,), DRIVEN, (0.2,), 10.0),
            Block("exp", (dim,), CODE_DRIVEN, (0.01,), 10.0),
            Block("longest", (LENGTH2,), (), (0.2,), stiff),
            Block("longest", (LENGTH2,), DRIVEN, (0.2,), 0.1),
            Block("longest", (dim,), CODE_DRIVEN, (0.01,), 0.1),
            Block("memory", (Axis("cache", -8, 8, 1),), (), (0.1,)),
            Block("memory", (GROUP,), (), (0.2,)),
            Block("cache", (LENGTH2,), (), (0.2,)),
            Block("items", (LENGTH2,), (), (0.2,)),
            Block("items", (dim,), (), (0.01,)),
            Block("items", (LENGTH2,), DRIVEN, (0.2,), 0.1),
            Block("items", (LENGTH2,), CODE_DRIVEN, (0.2,), 0.1),
            Block("chain", (LENGTH2, Axis("waves", -8, 8, 4)), (), (0.2, 0.2)),
            Block("chain", (LENGTH2,), DRIVEN, (0.2,), 0.1),
            Block("chain", (LENGTH2,), CODE_DRIVEN, (0.2,), 1.0),
        ),
        local=(kernels(dim), formats(dim), devices(dim_device)),
        spread=(Block("total", (Axis("waves", -8, 8, 4), Axis("length", 0, 16, 4)), (), (0.3, 0.3), 1e-6),),
        choice=choice,
    )  # fmt: skip


PREFILL = by_format(
    family("attention_prefill", DIM, Axis("dim", 6, 9), ("dim", "window", "length", "stored", "multiplied"), 1.0),
    CODE_DRIVEN, ("matmul",), 10.0,
)  # fmt: skip
ENCODER = family("attention_encoder", Axis("dim", 6, 6.32, 0.16), Axis("dim", 6, 6.32, 0.16), (), 100.0)


def tiles(length: Value, window: Value, causal: bool, side: Value) -> tuple[Value, Value]:
    """Score tiles of one head, and of its longest row of tiles.

    A causal mask of n × n tiles leaves n (n + 1) / 2; a window of w keys at most ceil(w / side) + 1 of a row.
    """
    n = ceil(length / side)
    if not causal:
        return n * n, n
    m = minimum(n, ceil((window - 1.0) / side) + 1.0)
    return m * (m + 1.0) / 2.0 + (n - m) * m, m


def skips(machine: Machine) -> bool:
    """Whether libraries for a device leave out tiles that a window hides, or compute and mask them.

    Intel's XPU kernels mask: on B60 a window of 128 takes 1.1-1.2 times the whole causal attention (*inferred* from these
    rows). So does SGLang's Triton kernel everywhere (0.8-1.0 times), which the ``masked`` term is for.
    """
    return machine.vendor != "intel"


def multiplied(shape: Shape, machine: Machine) -> str:
    """The format the products run in.

    Matrix instructions that read shared memory take both operands in one format: with a narrower cache, queries are
    quantised to it. Register kernels can widen keys on the way.
    """
    narrower = bytes_per_element(shape.kv) < bytes_per_element(shape.dtype)
    return shape.kv if narrower and beyond_registers(machine) else shape.dtype


def view(shape: Shape, limit: Value, machine: Machine) -> View:
    """The view of one attention over new tokens alone."""
    engine, main, near = machine.engine, machine.main, machine.last_cache
    size = bytes_per_element(shape.dtype)
    length, span = shape.new, minimum(shape.new, shape.window)
    group = shape.heads / shape.kv_heads
    dims = shape.qk_dim + shape.v_dim
    side = minimum(TILE, maximum(16.0, np.exp2(np.ceil(np.log2(length) - 1e-9))))
    window = shape.window if skips(machine) else NO_WINDOW
    count, longest = tiles(length, window, shape.causal, side)
    whole, _ = tiles(length, NO_WINDOW, shape.causal, side)
    work = shape.batch * shape.heads
    scores = work * count * side * side
    rows = ceil(length / side)
    total = shape.batch * length * size * (shape.heads * dims + shape.kv_heads * dims)
    reread = work * count * side * dims * size
    point = OperatingPoint()
    matmul = peak_for(machine, "matmul", multiplied(shape, machine), None, point).flops
    warp = minimum(matmul, 2.0 * WARP_ROWS / size * SHARED_BYTES * engine.units * engine.clock_hz)
    exp = peak_for(machine, "transcendental", "fp32", None, point)
    exp_rate = exp.flops if exp.unit == "transcendental" else exp.flops / 8.0
    cache_bytes, cache_rate = (near.capacity_bytes, near.bandwidth) if near is not None else (1.0, main.bandwidth)
    latency = memory_latency(machine)
    terms = {
        "matmul": 2.0 * scores * dims / (ATTAINED * matmul),
        "warp": 2.0 * scores * dims / warp,
        "masked": RARE * 2.0 * work * (whole - count) * side * side * dims / warp,
        "convert": widened(shape, machine, scores / WIDENED_ROWS),
        "exp": scores / exp_rate,
        "longest": longest * side * TILE * engine.units * (2.0 * dims / matmul + 1.0 / exp_rate),
        "memory": total * cold_share(total, cache_bytes) / main.bandwidth,
        "cache": reread / cache_rate,
        "items": work * rows / engine.units * latency,
        "launch": LAUNCHES * engine.launch_latency_s,
        "chain": DEPENDENT * latency,
    }
    coords = {
        "waves": np.log2(work * rows / engine.units), "length": np.log2(length), "work": np.log2(work),
        "group": np.log2(group), "dim": np.log2(shape.qk_dim), "cache": np.log2(total / cache_bytes),
        "batch": np.log2(shape.batch), "heads": np.log2(shape.heads), "kv": np.log2(shape.kv_heads),
        "excess": np.log2(length / span), "window": 1.0 * (shape.window < NO_WINDOW),
        "odd": 1.0 * (np.mod(np.log2(group), 1.0) > 1e-9),
        "stored": bytes_per_element(shape.kv) + 0.0 * length, "multiplied": size + 0.0 * length,
    }  # fmt: skip
    return View(terms, coords, limit)


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of either table's rows."""
    shape = shape_of(cls, rows, decode=False)
    return view(shape, cost_of(shape, machine).limit, machine)


TABLES.register("attention_prefill")(
    TableRules(
        name="attention_prefill",
        targets=(Target("latency", PREFILL, view_row),),
        measured=("latency",),
        numbers=attention.NUMBERS,
        optional=attention.OPTIONAL,
        texts=attention.TEXTS,
        group=attention.GROUP,
        slices=("device", "attn_dtype", "kv_cache_dtype", "framework"),
        key=key,
    )
)  # fmt: skip

TABLES.register("attention_encoder")(
    TableRules(
        name="attention_encoder",
        targets=(Target("latency", ENCODER, view_row),),
        measured=("latency",),
        numbers={"batch_size": 1, "isl": 1, "num_heads": 1, "head_dim": 1},
        texts=("framework", "version", "attn_dtype", "kernel_source"),
        group=("num_heads", "head_dim"),
        slices=("device", "attn_dtype", "framework"),
        key=key,
    )
)


def terms_of(shape: Shape, machine: Machine) -> Mapping[str, Value]:
    """Seconds at the machine's rates."""
    return view(shape, 0.0, machine).terms


def coords_of(shape: Shape, machine: Machine) -> Mapping[str, Value]:
    """Nothing with a rate in it."""
    return view(shape, 0.0, machine).coords
