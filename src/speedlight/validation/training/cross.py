"""``--cv``: training rows predicted by fits without their group (model, device), or without their device.

The engine is asked once a row, with the fit that ships; fits without a group differ from it by logs of factors, which a step
answers to by its shares (:mod:`.fit`), so that leaving out is linear algebra. Intervals of what is left out rest on the errors of
the others of its sort.
"""

from __future__ import annotations

import dataclasses
import math
from datetime import date

import numpy as np

from ..._foundation.errors import BadInput
from ...costs.training import NAME, shipped
from ...evidence.tables import Table
from ...hardware.catalogue import load_machine
from ..suite import Leave, Outcome, Predicted, Progress
from .figures import COLUMNS, figures
from .fit import beyond, ends_of, left_out
from .observed import Observed, observed
from .rule import Told

FEWEST = 12  # rows of a sort that has errors of its own


def cross(table: Table, leave: Leave, progress: Progress, whole: Predicted) -> Predicted:
    """Every measured row out of fold; the others are out of scope.

    Args:
        whole: the rows by the fit that ships, for their limits and classes.

    Raises:
        BadInput: for devices no row is of, and where nothing would be left to fit to.
    """
    rows = list(observed(table, None, progress))
    labels = [r.step.group if leave.by == "group" else r.row.device for r in rows]
    if len(set(labels)) < 2:
        raise BadInput("nothing would be left to fit to", expected=f"measured rows of at least two {leave.by}s")
    wanted = {load_machine(name, table=True).device_id for name in leave.devices}
    if unknown := wanted - set(labels):
        raise BadInput(
            f"--leave {', '.join(sorted(unknown))}: no measured row is of it", expected="a device of the table"
        )
    error = left_out([r.step for r in rows], labels, shipped())
    numbers = {c: np.full((4, table.rows), np.nan) for c in COLUMNS}
    status = np.full(table.rows, "out-of-scope:not measured", dtype=object)
    layer = np.full(table.rows, None, dtype=object)
    for i, found in enumerate(rows):
        if wanted and labels[i] not in wanted:
            status[found.number] = "out-of-scope:not left out"
            continue
        status[found.number], layer[found.number] = whole.status[found.number], found.told.layer
        told = _moved(found, float(error[i]), _ends(rows, error, labels, i))
        for column, values in figures({}, found.row, told).items():
            numbers[column][:, found.number] = values
    header = {
        "id": f"{NAME}, refitted without each {leave.by}", "date": date.today().isoformat(), "tables": [], "cross_validation": [],
    }  # fmt: skip
    outcomes = {c: Outcome(*numbers[c]) for c in COLUMNS}
    kind = np.where(status == whole.status, whole.kind, -1) if whole.kind is not None else None
    return Predicted(outcomes, layer, status, dict.fromkeys(COLUMNS, header), whole.classes, kind)


def _moved(found: Observed, error: float, ends: tuple[float, float]) -> Told:
    """The answer with the seconds of a fit that did not see the row."""
    told = found.told
    seconds = max(math.exp(found.step.target - error), told.limit)
    factor = seconds / told.seconds
    return dataclasses.replace(
        told, seconds=seconds, low=max(told.least * factor * math.exp(ends[0]), min(told.limit, seconds)),
        high=told.most * factor * math.exp(ends[1]),
    )  # fmt: skip


def _ends(rows: list[Observed], error: np.ndarray, labels: list[str], i: int) -> tuple[float, float]:
    """Quantiles of the errors of the other labels' rows of the same sort; of its kind where they are few."""
    for same in (
        [j for j, r in enumerate(rows) if r.sort == rows[i].sort and labels[j] != labels[i]],
        [j for j, r in enumerate(rows) if r.experts == rows[i].experts and labels[j] != labels[i]],
    ):
        known = [j for j in same if np.isfinite(error[j])]
        if len(known) >= FEWEST:
            past = beyond(error[known], [rows[j].step for j in known])
            return ends_of(past, [rows[j].step.group for j in known])
    return math.log(0.7), math.log(1.4)
