"""Rows of the table with their kernels, and predictions of each by a fit that did not see its like."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..._foundation.errors import BadInput
from ...costs.calibration.samples import as_floats
from ...costs.families.module_kernels import memory_of
from ...evidence.tables import Table
from ...frontends.carried import find
from ...hardware.catalogue import load_machine
from ..suite import Columns, Leave, Progress
from .fitting import LeftOut, Rows, bands_left_out, leave_devices_out, leave_groups_out
from .networks import alike
from .observed import Observed, joined, observe
from .ours import FRAMEWORK, PLAIN, alone, with_networks
from .questions import Question, questions


def rows_of(
    table: Table, keep: Path | None, progress: Progress, share: int = 1
) -> tuple[Rows, Mapping[int, str]]:  # fmt: skip
    """Measured rows whose kernels are known, and why others are not.

    Args:
        share: look at one in so many models only.
    """
    seconds = as_floats(table.columns["latency"])
    _, rows, failed = _looked_at(table.columns, table.rows, seconds, keep, progress, share)
    return rows, failed


def _looked_at(
    columns: Columns, count: int, seconds: np.ndarray, keep: Path | None, progress: Progress, share: int = 1
) -> tuple[Observed, Rows, Mapping[int, str]]:
    columns, count = with_networks(columns, count)
    seconds = as_floats(columns["latency"])
    asked = [
        (question, own[np.isfinite(seconds[own]) & (seconds[own] > 0)])
        for question, own in questions(columns, count)
        if question.harness == PLAIN or zlib.crc32(question.model.encode()) % share == 0
    ]
    asked = [(question, own) for question, own in asked if own.size]
    seen = observe(asked, as_floats(columns["batch_size"]), keep, progress)
    if not seen.rows.size:
        raise BadInput(
            "no row's model is known", expected="names of timm's models", hint="pip install '.[test-vision]'"
        )
    of: dict[int, Question] = {row: question for question, own in asked for row in own.tolist()}
    networks = seen.rows
    mine = [of[row] for row in networks.tolist()]
    kernels = alone(count)
    seen = joined(seen, kernels.seen)
    single = [load_machine(device, table=True) for device in kernels.device]
    machines = [*(load_machine(q.device, table=True) for q in mine), *single]

    def texts(of_networks: list[str], of_products: list[str]) -> np.ndarray:
        return np.array([*of_networks, *of_products])

    def figures(of_networks: np.ndarray, of_products: float) -> np.ndarray:
        return np.concatenate([of_networks, np.full(len(single), of_products)])

    rows = Rows(
        wholes=seen.wholes(np.concatenate([seconds[networks], kernels.seconds])),
        group=texts([module_of(q.model) for q in mine], list(kernels.sort)),
        kind=np.array([machine.kind for machine in machines]),
        device=np.array([machine.id for machine in machines]),
        memory=np.array([memory_of(machine) for machine in machines]),
        setting=texts(
            [f"{q.device} {q.precision} {q.layout} {q.stack.partition('@')[0]} {q.mode}" for q in mine],
            [f"{device} {sort}" for device, sort in zip(kernels.device, kernels.sort, strict=True)],
        ),
        framework=texts([q.stack.partition("@")[0] for q in mine], [FRAMEWORK] * len(single)),
        step=texts(["train" if q.mode == "train" else "" for q in mine], [""] * len(single)),
        network=np.arange(len(machines)) < len(mine),
        batch=figures(as_floats(columns["batch_size"])[networks], 1.0),
        ours=alike(
            seen.amounts, *(figures(_printed(columns, name)[networks], np.nan) for name in ("gmacs", "params_millions"))
        ),
    )
    return seen, rows, seen.failed


def _printed(columns: Columns, name: str) -> np.ndarray:
    """What the benchmark printed of each row's network; NaN for nothing."""
    if name in columns:
        return as_floats(columns[name])
    return np.full(len(columns["model"]), np.nan)


def module_of(model: str) -> str:
    """timm's Python module that defines a model: what is left out as a whole."""
    found = find(model)
    return found.module if found is not None else model


def out_of_fold(
    table: Table, leave: Leave, keep: Path | None, progress: Progress
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Predicted seconds with their interval for every row that was left out, and each row's status.

    Returns:
        columns ``seconds``, ``low``, ``high`` over all rows of the table (NaN where nothing is said), and the status.
    """
    seconds = as_floats(table.columns["latency"])
    seen, rows, failed = _looked_at(table.columns, table.rows, seconds, keep, progress)
    by_group = leave.by == "group"
    left: LeftOut = leave_groups_out(rows, progress) if by_group else leave_devices_out(rows, progress)
    low, high = bands_left_out(rows, left, leave.by)
    wanted = seen.rows < table.rows  # ours come behind
    if leave.devices:
        wanted &= np.isin(rows.device, list(leave.devices))
    found = {name: np.full(table.rows, np.nan) for name in ("seconds", "low", "high")}
    at = seen.rows[wanted]
    found["seconds"][at] = left.seconds[wanted]
    found["low"][at] = (left.seconds * np.exp(low))[wanted]
    found["high"][at] = (left.seconds * np.exp(high))[wanted]
    status = np.full(table.rows, "out-of-scope:not left out", dtype=object)
    status[at] = "ok"
    for row, why in ((r, w) for r, w in failed.items() if r < table.rows):
        status[row] = f"unsupported:{why[:80]}"
    return found, status
