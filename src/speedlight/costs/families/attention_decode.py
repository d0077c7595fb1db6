"""attention_decode: one new token for each of many sequences, over their caches.

Terms, in seconds at the machine's rates:

- ``memory``: the keys and values a window leaves, queries and outputs, through main memory once, as far as the last
  cache does not keep them from one repetition to the next.
- ``cache``: the same bytes through the last cache.
- ``matmul``: products with the queries that share a KV head padded to the 16 rows of a matrix instruction.
- ``convert``: an fp8 cache widened in software, where no matrix unit knows fp8.
- ``items``: a (sequence, KV head) pair costs one unit at least a few memory round trips, however short its context.
- ``launch``: the launch floor.
- ``chain``: dependent round trips to main memory that even the shortest kernel makes; a second kernel that combines
  splits doubles them.

What bends them: pairs against units (few pairs are split along the context, many come in waves), the context's length (how
many steps of a pipeline a pair gives), bytes against the last cache (residency), queries per KV head, head size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..._foundation.arrays import Value, ceil, log2, minimum
from ..._foundation.formats import bytes_per_element
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View
from ..price import peak_for
from . import attention
from .attention import LAUNCHES, NO_WINDOW, Shape, by_format, cost_of, key, residents, shape_of, widened
from .in_models import memory_latency
from .warm import cold_share

DEPENDENT = 10.0  # steps of the shortest kernel: page table, query, keys, values, sum; and again where splits combine

PAIRS = Axis("pairs", -8, 9)
SPAN = Axis("span", 1, 17)
SPAN2 = Axis("span", 1, 17, 2)
WORK = Axis("work", 0, 17)
WORK3 = Axis("work", 0, 18, 3)
GROUP = Axis("group", 0, 7)
SHARED = Axis("shared", 0, 1)
DIM = Axis("dim", 6, 9, 0.5)
WINDOW = Axis("window", 0, 1)
LENGTH2 = Axis("length", 1, 17, 2)
KV = Axis("kv", 0, 6)

CODE = ("implementation",)
ARCHITECTURE = ("architecture", "framework", "kernel")
FORMAT = (*ARCHITECTURE, "format")
DEVICE = ("device", "framework", "version", "kernel", "format")

# What a kernel does on an architecture, whatever the format: how it splits few pairs and deals many out in waves, by
# context and head size; kernels of one query head per KV head are other kernels than grouped ones; windows take other
# paths, which deal out query heads.
KERNELS = tuple(
    dataclasses.replace(b, per=FORMAT)
    for b in (
        Block("total", (WORK, SPAN, DIM), ARCHITECTURE, (0.05, 0.05, 0.002), 1e-2),
        Block("total", (SHARED, WORK, SPAN), ARCHITECTURE, (0.0, 0.05, 0.05), 1e-3),
        Block("total", (Axis("cache", -4, 4, 0.25), SHARED), ARCHITECTURE, (0.005, 0.0), 1e-2),
        Block("total", (Axis("pairs", -2, 5, 0.25), SPAN2), ARCHITECTURE, (0.005, 0.3), 1e-2),
        Block("total", (GROUP, SPAN2, Axis("batch", 0, 12, 2)), ARCHITECTURE, (0.1, 0.1, 0.1), 1e-2),
        Block("total", (WINDOW, SPAN2, Axis("rows", 0, 18)), ARCHITECTURE, (0.0, 0.1, 0.1), 1e-2),
        Block("total", (Axis("excess", 0, 10), WORK3), ARCHITECTURE, (0.1, 0.1), 1e-2),
        Block("total", (Axis("batch", 0, 12, 2), KV, Axis("span", 1, 17, 4)), ARCHITECTURE, (0.1, 0.1, 0.1), 1e-2),
    )
)
# What it does differently in a format.
FORMATS = (
    Block("total", (WORK, SPAN), FORMAT, (0.05, 0.05), 1e-2),
    Block("total", (SHARED, WORK3, SPAN2), FORMAT, (0.0, 0.1, 0.1), 1e-2),
    Block("total", (DIM, SPAN2, WORK3), FORMAT, (0.002, 0.1, 0.1), 1e-2),
    Block("total", (Axis("cache", -4, 4, 0.25),), FORMAT, (0.005,), 1e-2),
    Block("total", (WINDOW, SPAN2, Axis("rows", 0, 18, 3)), FORMAT, (0.0, 0.1, 0.1), 1e-2),
    Block("total", (GROUP, Axis("span", 1, 17, 4)), FORMAT, (0.1, 0.1), 1e-2),
)
# What is particular to a device of it, and to a version.
DEVICES = (
    Block("total", (Axis("work", 0, 18, 2), SPAN2), DEVICE, (0.05, 0.05), 1e-2),
    Block("total", (DIM, Axis("span", 1, 17, 4)), DEVICE, (0.01, 0.1), 1e-2),
    Block("total", (Axis("cache", -6, 6, 0.5),), DEVICE, (0.02,), 1e-2),
    Block("total", (WINDOW, LENGTH2), DEVICE, (0.0, 0.1), 1e-2),
    Block("total", (GROUP,), DEVICE, (0.1,), 1e-2),
)

FAMILY = by_format(
    Family(
        name="attention_decode",
        parallel=("memory", "cache", "matmul", "convert", "items"),
        serial=("launch", "chain"),
        power=2.5,
        shared=(
            Block("memory", (PAIRS, SPAN2), (), (0.1, 0.2)),
            Block("memory", (Axis("cache", -8, 8, 0.5),), (), (0.05,)),
            Block("memory", (GROUP,), (), (0.2,)),
            Block("memory", (SPAN2,), ("format",), (0.2,), 0.1),
            Block("memory", (DIM,), CODE, (0.01,), 0.1),
            Block("memory", (Axis("cache", -14, 8, 2),), CODE, (0.3,), 0.1),
            Block("matmul", (GROUP,), (), (0.2,)),
            Block("matmul", (SPAN2,), (), (0.2,)),
            Block("cache", (PAIRS, SPAN2), (), (0.2, 0.2)),
            Block("cache", (SPAN2,), CODE, (0.2,), 0.1),
            Block("cache", (DIM,), CODE, (0.01,), 0.1),
            Block("items", (SPAN2,), (), (0.2,)),
            Block("items", (DIM,), (), (0.02,)),
            Block("items", (SPAN2,), ("format",), (0.2,), 0.1),
            Block("items", (GROUP,), (), (0.2,)),
            Block("items", (SPAN2,), CODE, (0.2,), 0.1),
            Block("chain", (SPAN, Axis("pairs", -8, 8, 2)), (), (0.2, 0.2)),
            Block("chain", (SPAN2, Axis("pairs", -8, 8, 4)), ("framework",), (0.2, 0.2), 0.1),
            Block("chain", (SPAN2, Axis("pairs", -8, 8, 4)), CODE, (0.2, 0.2), 1.0),
            Block("total", (WINDOW, LENGTH2), CODE, (0.0, 0.2), 0.1),
        ),
        local=(KERNELS, DEVICES),
        spread=(Block("total", (Axis("pairs", -8, 8, 4), Axis("span", 1, 17, 4)), (), (0.3, 0.3), 1e-6),),
        choice=("dim", "window", "stored"),
        counted=("memory",),
    ),
    CODE, ("cache", "items", "chain"), 0.1,
)  # fmt: skip


def view(shape: Shape, limit: Value, machine: Machine) -> View:
    """The view of one decode attention."""
    return View(terms_of(shape, machine), coords_of(shape, machine), limit)


def terms_of(shape: Shape, machine: Machine) -> dict[str, Value]:
    """Seconds at the machine's rates, operands as warm as a repeated benchmark keeps them."""
    engine, main, near = machine.engine, machine.main, machine.last_cache
    total, pairs, group = _sizes(shape)
    span = minimum(shape.cached + shape.new, shape.window)
    matmul = peak_for(machine, "matmul", shape.dtype, None, OperatingPoint()).flops
    cache_bytes, cache_rate = (near.capacity_bytes, near.bandwidth) if near is not None else (1.0, main.bandwidth)
    latency = memory_latency(machine)
    return {
        "memory": total * cold_share(total, cache_bytes) / main.bandwidth,
        "cache": total / cache_rate,
        "matmul": 2.0 * pairs * ceil(group / 16.0) * 16.0 * span * (shape.qk_dim + shape.v_dim) / matmul,
        "convert": widened(shape, machine, pairs * span),
        "items": pairs / (engine.units * residents(machine)) * latency,
        "launch": LAUNCHES * engine.launch_latency_s,
        "chain": DEPENDENT * latency,
    }


def coords_of(shape: Shape, machine: Machine) -> dict[str, Value]:
    """Sizes, work items over units, bytes over cache: nothing with a rate in it."""
    near = machine.last_cache
    total, pairs, group = _sizes(shape)
    length = shape.cached + shape.new
    log_length, log_pairs, log_batch, log_heads = log2(length), log2(pairs), log2(shape.batch), log2(shape.heads)
    log_span = minimum(log_length, log2(shape.window))
    return {
        "pairs": log_pairs - log2(machine.engine.units), "span": log_span, "length": log_length,
        "group": log2(group), "dim": log2(shape.qk_dim),
        "cache": log2(total) - log2(near.capacity_bytes if near is not None else 1.0),
        "batch": log_batch, "heads": log_heads, "kv": log2(shape.kv_heads), "work": log_pairs,
        "rows": log_batch + log_heads, "excess": log_length - log_span, "window": 1.0 * (shape.window < NO_WINDOW),
        "shared": 1.0 * (group > 1.0), "stored": bytes_per_element(shape.kv) + 0.0 * length,
    }  # fmt: skip


def _sizes(shape: Shape) -> tuple[Value, Value, Value]:
    """Bytes of everything read and written, work items (sequences × KV heads), query heads of a KV head."""
    pairs = shape.batch * shape.kv_heads
    dims = shape.qk_dim + shape.v_dim
    stored = shape.qk_dim if shape.one_buffer else dims
    span = minimum(shape.cached + shape.new, shape.window)
    own = shape.batch * shape.heads * dims * bytes_per_element(shape.dtype)
    return pairs * span * stored * bytes_per_element(shape.kv) + own, pairs, shape.heads / shape.kv_heads


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of the table's rows."""
    shape = shape_of(cls, rows, decode=True)
    return view(shape, cost_of(shape, machine).limit, machine)


TABLES.register("attention_decode")(
    TableRules(
        name="attention_decode",
        targets=(Target("latency", FAMILY, view_row),),
        measured=("latency",),
        numbers=attention.NUMBERS,
        optional=attention.OPTIONAL,
        texts=attention.TEXTS,
        group=attention.GROUP,
        slices=("device", "kv_cache_dtype", "framework"),
        key=key,
    )
)  # fmt: skip
