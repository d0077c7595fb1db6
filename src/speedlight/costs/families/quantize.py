"""quantize_compute_scale, quantize_scale_matrix: quantising an activation of m rows × k columns to fp8.

Two measurements of the same pass: finding the scales (read 16 bit, reduce) and applying them (read 16 bit, write 8 bit).
vLLM's first is a difference of two kernels' times and SGLang's is zero where one kernel does both; a time of zero is no
measurement of a kernel and is left out of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum
from ..._foundation.formats import bytes_per_element
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from .in_models import launch_seconds

READ = 2.0  # bytes of an element before
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


def family(name: str) -> Family:
    """How these kernels are fitted."""
    return Family(
        name=name,
        parallel=("memory", "issue"),
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
        "memory": total / bandwidth, "issue": total / (engine.units * engine.clock_hz * ISSUE),
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

    The limit is nothing: a difference of two times is not a kernel's, and where one kernel does both no time is left.
    """
    view = quantize_view(rows["m"], rows["k"], 0.0, machine)
    return View(view.terms, view.coords, 0.0 * view.limit)


def matrix_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """Applying them."""
    return quantize_view(rows["m"], rows["k"], bytes_per_element(cls["quant_dtype"]), machine)


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": cls["quant_dtype"], "kernel": cls.get("kernel_source", ""),
    }  # fmt: skip


for _table, _row in (("quantize_compute_scale", scale_row), ("quantize_scale_matrix", matrix_row)):
    TABLES.register(_table)(
        TableRules(
            name=_table,
            targets=(Target("latency", family(_table), _row),),
            measured=("latency",),
            numbers={"m": 1, "k": 1},
            texts=("framework", "version", "kernel_source", "quant_dtype"),
            group=("k",),
            slices=("device", "framework"),
            key=key,
        )
    )
