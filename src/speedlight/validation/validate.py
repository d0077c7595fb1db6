"""Predictions beside a measured table: OUT file, metrics, bars (CONTRACT, "validate")."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from ..evidence.tables import Table, base_name, read_table, write_predictions
from . import suites  # noqa: F401  registers the shipped suites
from .suite import SUITES, Outcome, Predicted, Suite

EXAMPLES = 20  # rows below the limit that the report names


@dataclass(frozen=True, slots=True)
class Bar:
    """``COLUMN:METRIC=VALUE``: the largest value allowed (bias by magnitude; coverage the least)."""

    column: str
    metric: str
    value: float


def parse_bar(text: str) -> Bar:
    head, _, value = text.partition("=")
    column, _, metric = head.rpartition(":")
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not column or metric not in METRICS or not np.isfinite(number):
        raise BadInput(f"--bar {text!r}", expected="COLUMN:METRIC=VALUE with a metric of " + ", ".join(METRICS))
    return Bar(column, metric, number)


METRICS = ("median_ape", "mape", "p90_ape", "bias", "coverage_80", "interval_width")


def suite_for(table: Table, name: str | None) -> Suite:
    """``--suite`` wins, then the file's base name, then the columns where one suite alone has them all."""
    if name is not None:
        return SUITES.get(name)
    known = list(SUITES)
    base = base_name(table.path)
    if base in known:
        return SUITES.get(base)
    fitting = [s for s in known if all(c in table for c in SUITES.get(s).required)]
    if len(fitting) == 1:
        return SUITES.get(fitting[0])
    raise BadInput(
        f"{table.path} names no suite, and {len(fitting) or 'none'} fit its columns",
        expected="--suite with one of " + ", ".join(fitting or known),
    )


def validate(
    path: str | Path,
    *,
    suite: str | None = None,
    predictions: str | Path | None = None,
    bars: Sequence[Bar] = (),
) -> dict[str, Any]:
    """Predict a table's measured columns and compare.

    Args:
        path: the table.
        suite: its rules; by file name or columns when None.
        predictions: where to write every row with its predictions.
        bars: limits on metrics.

    Returns:
        CONTRACT's validate object, with ``"passed"`` telling whether every bar held.
    """
    start = time.perf_counter()
    table = read_table(path)
    rules = suite_for(table, suite)
    for bar in bars:
        if bar.column not in rules.measured:
            raise BadInput(f"--bar names {bar.column!r}", expected="one of " + ", ".join(rules.measured))
    missing = [c for c in rules.required if c not in table]
    if missing:
        raise BadInput(f"{path} lacks the column {missing[0]!r}", expected="the columns " + ", ".join(rules.required))
    inputs = {n: c for n, c in table.columns.items() if n not in rules.measured}
    result = rules.predict(inputs, table.rows)
    if predictions is not None:
        write_predictions(table, _columns(result), predictions)
    return _report(table, rules, result, bars, time.perf_counter() - start)


def _columns(result: Predicted) -> dict[str, np.ndarray]:
    added: dict[str, np.ndarray] = {}
    for name, o in result.outcomes.items():
        added |= {
            f"predicted_{name}": o.predicted,
            f"limit_{name}": o.limit,
            f"low_{name}": o.low,
            f"high_{name}": o.high,
        }
    return {**added, "layer": result.layer, "status": result.status}


def _report(table: Table, rules: Suite, result: Predicted, bars: Sequence[Bar], seconds: float) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    below: list[dict[str, Any]] = []
    anywhere = np.zeros(table.rows, dtype=bool)
    for name, outcome in result.outcomes.items():
        anywhere |= np.isfinite(outcome.predicted)
        if name not in table:
            continue
        measured = _floats(table.columns[name])
        usable = np.isfinite(measured) & (measured > 0) & np.isfinite(outcome.predicted)
        metrics[name] = metrics_of(measured, outcome, usable)
        beyond = usable & ((measured > outcome.limit) if name in rules.rate else (measured < outcome.limit))
        metrics[name]["below_limit"] = int(beyond.sum())
        for row in np.flatnonzero(beyond)[:EXAMPLES]:
            below.append(
                {"row": int(row), "column": name, "measured": float(measured[row]), "limit": float(outcome.limit[row])}
            )
        for key in rules.slices:
            if key in table:
                groups.setdefault(key, {})
                for value, mask in _by(table.columns[key], usable).items():
                    groups[key].setdefault(value, {})[name] = metrics_of(measured, outcome, mask)
    statuses, counts = np.unique(result.status.astype(str), return_counts=True)
    scope = ~np.char.startswith(result.status.astype(str), "out-of-scope")
    held = [_held(bar, metrics) for bar in bars]
    return {
        "suite": rules.name,
        "rows": table.rows,
        "predicted": int(anywhere.sum()),
        "coverage": float(anywhere[scope].mean()) if scope.any() else None,
        "seconds": seconds,
        "fit": None,
        "in_sample": False,
        "status": {str(s): int(c) for s, c in zip(statuses, counts, strict=True)},
        "metrics": metrics,
        "groups": groups,
        "below_limit": below,
        "bars": [
            {"column": b.column, "metric": b.metric, "bar": b.value, "held": h} for b, h in zip(bars, held, strict=True)
        ],
        "passed": all(held),
    }


def metrics_of(measured: np.ndarray, outcome: Outcome, mask: np.ndarray) -> dict[str, Any]:
    """Errors of the rows under the mask, as fractions."""
    count = int(mask.sum())
    if count == 0:
        return {"n": 0, **dict.fromkeys(METRICS)}
    m, p = measured[mask], outcome.predicted[mask]
    error = np.abs(p / m - 1)
    low, high = outcome.low[mask], outcome.high[mask]
    return {
        "n": count,
        "median_ape": float(np.median(error)),
        "mape": float(np.mean(error)),
        "p90_ape": float(np.quantile(error, 0.9)),
        "bias": float(np.median(p / m) - 1),
        "coverage_80": float(np.mean((m >= low) & (m <= high))),
        "interval_width": float(np.median(high / low)) if np.all(low > 0) else None,
    }


def _held(bar: Bar, metrics: Mapping[str, Any]) -> bool:
    found = metrics.get(bar.column, {}).get(bar.metric)
    if found is None:
        return False
    return bool(found >= bar.value) if bar.metric == "coverage_80" else bool(abs(found) <= bar.value)


def _by(column: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    values, codes = np.unique(column.astype(str), return_inverse=True)
    return {str(v): mask & (codes == i) for i, v in enumerate(values)}


def _floats(column: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        return np.full(len(column), np.nan)
