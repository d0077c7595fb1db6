"""quantize_compute_scale, quantize_scale_matrix: quantising an activation of m rows × k columns to fp8.

Two measurements of the same pass: finding the scales (read 16 bit, reduce) and applying them (read 16 bit, write 8 bit).
vLLM's first is a difference of two kernels' times. SGLang does both in one kernel: 8,119 of its 8,140 measured times are
zero, and the other 21 (9 ns to 1.2 µs, scattered over shapes) are what two equal times differ by. They are not predicted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum
from ..._foundation.formats import bytes_per_element
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, OutOfScope, Rows, TableRules, Target, View, architecture_of
from .in_models import launch_seconds
from .warm import fetched

FUSED = ("sglang",)  # kernel sources that find scales while applying them
READ = 2.0  # bytes of an element before
# One block finds the maximum of one row, 4,096 elements at a time: vLLM's times on H200 are 0.15 + 0.5 µs × ⌈k / 4,096⌉ for
# few rows, whatever their number (0.65 µs for every k up to 4,096, then 1.15, 1.65, 2.1 … 7.9 µs at 65,536).
SWEEP, STEP = 4096.0, 5e-7  # elements of a row handled at once, seconds that takes
RESIDENT = 8.0  # blocks a unit runs at a time
ISSUE = 16.0  # bytes a unit handles in a clock; the fit bends it

ONE, CACHE, STREAM = Axis("one", 0, 1), Axis("cache", -14, 8), Axis("stream", -2, 26)
M, K = Axis("m", 0, 16), Axis("k", 5, 16)
STACK, ARCHITECTURE = ("framework", "kernel"), ("architecture", "framework", "kernel")
KERNEL = ("device", "framework", "version", "kernel")


def local(per: tuple[str, ...]) -> tuple[Block, ...]:
    """What is particular to a kernel: its surface over rows and columns."""
    return (
        Block("total", (Axis("m", 0, 16, 0.5), K), per, (0.03, 0.1), 1e-2),
        Block("total", (Axis("stream", -2, 26, 0.5),), per, (0.1,), 1e-2),
    )


ROWS = Axis("rows", -7, 10)
# How long the rounds of blocks take that each find one row's scale; the bend over columns is the tree over a short row.
CHAIN = (
    Block("chain", (ROWS,), (), (0.1,), 1e-3),
    Block("chain", (ROWS,), STACK, (0.1,), 1e-2),
    Block("chain", (Axis("k", 5, 13),), STACK, (0.1,), 1e-2),
)


def family(name: str, chain: tuple[Block, ...] = ()) -> Family:
    """How these kernels are fitted; ``chain`` where a block finds the scale of a row."""
    return Family(
        name=name,
        parallel=("memory", "issue", *(("chain",) if chain else ())),
        serial=("launch",),
        power=3.0,
        shared=(
            Block("memory", (CACHE,), (), (0.3,), 1e-2),
            Block("issue", (STREAM,), (), (0.1,), 1e-3),
            Block("issue", (K,), (), (0.3,), 1e-3),
            Block("launch", (ONE,), (), (0.0,), 1e-4),
            Block("memory", (CACHE,), STACK, (0.3,), 1e-1),
            Block("issue", (STREAM,), STACK, (0.1,), 1e-2),
            Block("issue", (K,), STACK, (0.3,), 1e-2),
            Block("issue", (M,), STACK, (0.3,), 1e-2),
            Block("launch", (ONE,), STACK, (0.0,), 1e-3),
            *chain,
        ),
        local=(local(ARCHITECTURE), local(KERNEL)),
        spread=(Block("total", (Axis("stream", -2, 26, 4),), (), (0.3,), 1e-6),),
    )


def quantize_view(m: Value, k: Value, written: float, machine: Machine) -> View:
    """A pass that reads m × k elements of 16 bits and writes ``written`` bytes for each.

    Operands may stay in the last cache, as benchmarks loop on them.
    """
    engine = machine.engine
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    total = m * k * (READ + written)
    bandwidth = machine.main.bandwidth
    terms = {
        "memory": fetched(total, machine), "issue": total / (engine.units * engine.clock_hz * ISSUE),
        "launch": launch_seconds(machine),
    }  # fmt: skip
    coords = {
        "one": 0.0, "m": np.log2(m), "k": np.log2(k), "cache": np.log2(total / capacity),
        "stream": np.log2(total / engine.units),
    }  # fmt: skip
    cold = total * (1.0 - minimum(1.0, capacity / maximum(total, 1.0)))
    return View(terms, coords, cold / bandwidth)


def scale_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """Finding scales.

    The limit is nothing: a difference of two times is not a kernel's.

    Raises:
        OutOfScope: for a stack that finds scales in the kernel that applies them: no time of its own is left to predict.
    """
    if cls["kernel_source"] in FUSED:
        raise OutOfScope(f"{cls['kernel_source']} finds scales in the kernel that applies them")
    m, units = rows["m"], machine.engine.units
    view = quantize_view(m, rows["k"], 0.0, machine)
    rounds = ceil(rows["k"] / SWEEP) * ceil(m / (units * RESIDENT))
    coords = {**view.coords, "rows": np.log2(m / units)}
    return View({**view.terms, "chain": rounds * STEP}, coords, 0.0 * view.limit)


def matrix_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """Applying them."""
    return quantize_view(rows["m"], rows["k"], bytes_per_element(cls["quant_dtype"]), machine)


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": cls["quant_dtype"], "kernel": cls.get("kernel_source", ""),
    }  # fmt: skip


for _table, _row, _chain in (
    ("quantize_compute_scale", scale_row, CHAIN),
    ("quantize_scale_matrix", matrix_row, ()),
):
    TABLES.register(_table)(
        TableRules(
            name=_table,
            targets=(Target("latency", family(_table, _chain), _row),),
            measured=("latency",),
            numbers={"m": 1, "k": 1},
            texts=("framework", "version", "kernel_source", "quant_dtype"),
            group=("k",),
            slices=("device", "framework"),
            key=key,
        )
    )
