"""A step's seconds in the units of every measured column, by its source's conventions; and seconds from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...hardware.catalogue import load_machine
from .flops import step_flops
from .models import number
from .rows import Row
from .rule import Told

COLUMNS = (
    "iteration_time_s", "tflops_per_gpu", "mfu", "hfu", "tokens_per_s_per_gpu", "samples_per_s", "memory_bytes_per_gpu",
)  # fmt: skip
MEMORY_SPREAD = 0.1  # four of five published peaks lie within it (studies/2026-11-training.md)
_PEAK = {"fp32": "fp32", "tf32": "tf32", "fp16": "fp16", "bf16": "bf16", "amp": "fp16", "fp8": "fp8", "mxfp8": "fp8",
         "fp8_block": "fp8", "nvfp4": "fp4"}  # fmt: skip


def work_of(row: Row, *, hardware: bool = False) -> float:
    """FLOPs the source says the step takes; see :mod:`.flops`."""
    return step_flops(
        row.source, row.model, row.seq_len, row.batch, again=row.recompute or "none", hardware=hardware, task=row.task
    )


def peak_of(row: Row) -> float:
    """Dense peak of one device that MFU is a share of, as its maker states it."""
    engine = load_machine(row.device).engine
    return float(engine.peak("matmul", _PEAK[row.precision])[0].flops)


def rates_of(row: Row) -> dict[str, float]:
    """What one second of a step's column amounts to: column = amount / seconds."""
    work, again = work_of(row) / row.devices, work_of(row, hardware=True) / row.devices
    peak = peak_of(row)
    return {
        "tflops_per_gpu": work, "mfu": work / peak, "hfu": again / peak,
        "tokens_per_s_per_gpu": row.batch * row.seq_len / row.devices, "samples_per_s": row.batch,
    }  # fmt: skip


def figures(cells: Mapping[str, Any], row: Row, step: Told) -> dict[str, tuple[float, float, float, float]]:
    """Column → (predicted, limit, low, high)."""
    seconds = (step.seconds, step.limit, step.low, step.high)
    made: dict[str, tuple[float, float, float, float]] = {"iteration_time_s": seconds}
    for column, amount in rates_of(row).items():
        made[column] = (amount / seconds[0], amount / seconds[1], amount / seconds[3], amount / seconds[2])
    scope = str(cells.get("memory_scope", "") or "")
    held, least = step.memory, step.states
    if scope == "activations":
        held, least = step.activations, 0.0
    elif scope.startswith(
        "parameters"
    ):  # of the layers alone, by a paper's formula: no bound to what ours holds beside them
        held, least = step.states, 0.0
    made["memory_bytes_per_gpu"] = (held, least, held * (1 - MEMORY_SPREAD), held * (1 + MEMORY_SPREAD))
    return made


def seconds_of(cells: Mapping[str, Any], row: Row) -> float:
    """The one target of a row: its iteration time, else from tokens or samples a second, else from FLOP/s or MFU."""
    rates = rates_of(row)
    stated = number(cells, "iteration_time_s")
    if stated is not None:
        return stated
    for column in ("tokens_per_s_per_gpu", "samples_per_s", "tflops_per_gpu", "mfu"):
        value = number(cells, column)
        if value is not None:
            return rates[column] / value
    return np.nan
