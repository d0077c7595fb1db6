"""One table's column → its fit, with the header that says what it rests on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ...evidence.tables import Table
from ..calibration.model import Fit
from ..calibration.predict import Forecast
from ..calibration.samples import TableRules, Target, as_floats, assemble
from .crossval import Progress, leave_devices_out, leave_groups_out, out_of_fold, quiet, with_spread
from .train import Training, train, training


def fit_target(rules: TableRules, target: Target, table: Table, path: str | Path, progress: Progress = quiet) -> Fit:
    """Cross-validate and fit one measured column."""
    columns = {n: c for n, c in table.columns.items() if n not in rules.measured}
    samples = assemble(rules, target, columns, table.rows)
    measured = as_floats(table.columns[target.column]) * target.unit
    seen = training(samples, measured, groups_of(rules, table))
    groups = leave_groups_out(target, seen, progress)
    devices = leave_devices_out(target, seen, (), progress)
    everything = np.arange(seen.rows.size)
    parts = with_spread(
        target, train(target.family, seen.data), seen, {"group": (groups, everything), "device": (devices, everything)}
    )
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


def groups_of(rules: TableRules, table: Table) -> np.ndarray:
    """A code for each row's group: rows that are left out together."""
    code = np.zeros(table.rows, dtype=np.int64)
    for name in rules.group:
        if name in table:
            column = table.columns[name]
            texts = column.astype(str) if column.dtype == object else column
            _, own = np.unique(texts, return_inverse=True)
            _, code = np.unique(code * (own.max(initial=0) + 1) + own, return_inverse=True)
    return code


def fingerprint(path: str | Path) -> str:
    """A hash of the file's content: tells whether a table was fitted on."""
    digest = hashlib.blake2b(digest_size=12)
    with Path(path).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _errors(by: str, seen: Training, said: Forecast, measured: np.ndarray) -> dict[str, Any]:
    """Errors averaged over (device, format, framework): every class counts alike."""
    rows = seen.rows
    good = np.isfinite(said.seconds[rows])
    rows, data = rows[good], seen.data.take(np.flatnonzero(good))
    error = np.abs(said.seconds[rows] / measured[rows] - 1)
    inside = (measured[rows] >= said.low[rows]) & (measured[rows] <= said.high[rows])
    classes, inverse = data.classes(("device", "format", "framework"))
    return {
        "leave": by,
        "median_ape": _mean([float(np.median(error[inverse == i])) for i in range(len(classes))]),
        "mape": _mean([float(np.mean(error[inverse == i])) for i in range(len(classes))]),
        "coverage_80": _mean([float(np.mean(inside[inverse == i])) for i in range(len(classes))]),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
