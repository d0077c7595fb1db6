"""One table's column → its fit, with the header that says what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ...evidence.tables import Table, fingerprint, group_codes
from ..calibration.model import Fit
from ..calibration.predict import Forecast
from ..calibration.samples import TableRules, Target, as_floats, assemble
from .crossval import Progress, cross_validate, out_of_fold, quiet, with_spread
from .train import Training, training


def fit_target(rules: TableRules, target: Target, table: Table, path: str | Path, progress: Progress = quiet) -> Fit:
    """Cross-validate and fit one measured column."""
    columns = {n: c for n, c in table.columns.items() if n not in rules.measured}
    samples = assemble(rules, target, columns, table.rows)
    measured = as_floats(table.columns[target.column]) * target.unit
    seen = training(samples, measured, group_codes(table.columns, rules.group, table.rows))
    whole, groups, devices = cross_validate(target, seen, progress)
    everything = np.arange(seen.rows.size)
    parts = with_spread(target, whole, seen, {"group": (groups, everything), "device": (devices, everything)})
    errors = [
        _errors(by, seen, out_of_fold(target, samples, seen, left, by), measured)
        for by, left in (("group", groups), ("device", devices))
        if left.parts
    ]
    family = target.family
    features = sorted({axis.coord for part in parts.values() for f in part.blocks for axis in f.block.axes})
    header: dict[str, Any] = {
        "schema": 1,
        "id": f"{family.name}@{date.today().isoformat()}",
        "family": family.name,
        "date": date.today().isoformat(),
        "procedure": f"python -m speedlight.costs.refit {rules.name}",
        "features": features,
        "tables": [{"name": rules.name, "rows": int(seen.rows.size), "fingerprint": fingerprint(path)}],
        "cross_validation": errors,
        "layered_on": None,
    }
    return Fit(family.name, header, family.partition, parts)


def training_of(rules: TableRules, target: Target, table: Table) -> Training:
    """A table's rows as the fit of one column sees them."""
    columns = {n: c for n, c in table.columns.items() if n not in rules.measured}
    samples = assemble(rules, target, columns, table.rows)
    measured = as_floats(table.columns[target.column]) * target.unit
    return training(samples, measured, group_codes(table.columns, rules.group, table.rows))


def _errors(by: str, seen: Training, said: Forecast, measured: np.ndarray) -> dict[str, Any]:
    """Errors averaged over (device, format, framework), coverage over those and the shape group: each counts alike."""
    rows = seen.rows
    good = np.flatnonzero(np.isfinite(said.seconds[rows]))
    rows, data, group = rows[good], seen.data.take(good), seen.group[good]
    error = np.abs(said.seconds[rows] / measured[rows] - 1)
    inside = (measured[rows] >= said.low[rows]) & (measured[rows] <= said.high[rows])
    classes, inverse = data.classes(("device", "format", "framework"))
    _, cell = np.unique(group * np.int64(len(classes)) + inverse, return_inverse=True)
    return {
        "leave": by,
        "median_ape": _mean([float(np.median(error[inverse == i])) for i in range(len(classes))]),
        "mape": _mean([float(np.mean(error[inverse == i])) for i in range(len(classes))]),
        "coverage_80": float(np.mean(np.bincount(cell, weights=inside) / np.bincount(cell))),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
