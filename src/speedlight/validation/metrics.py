"""Errors of predictions beside measurements: over all rows, by slice, and averaged over classes; limits on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .suite import Outcome

METRICS = ("median_ape", "mape", "p90_ape", "bias", "coverage_80", "interval_width")
BELOW = 1e-9  # relative slack of a measurement against its limit: rounding of the file


@dataclass(frozen=True, slots=True)
class Bar:
    """``COLUMN:METRIC=VALUE``: the largest value allowed (bias by magnitude; coverage the least)."""

    column: str
    metric: str
    value: float

    def held(self, metrics: Mapping[str, Mapping[str, Any]]) -> bool:
        found = metrics.get(self.column, {}).get(self.metric)
        if found is None:
            return False
        return bool(found >= self.value) if self.metric == "coverage_80" else bool(abs(found) <= self.value)


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


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows of one column with a measurement and a prediction.

    Attributes:
        rows: their numbers.
        measured, predicted, low, high, limit: a value each.
        beyond: measurements better than physics allows.
    """

    rows: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    limit: np.ndarray
    beyond: np.ndarray

    def metrics(self, at: np.ndarray | slice = slice(None)) -> dict[str, Any]:
        """Errors of some of the rows, as fractions."""
        m, p, low, high = self.measured[at], self.predicted[at], self.low[at], self.high[at]
        if not m.size:
            return {"n": 0, **dict.fromkeys(METRICS)}
        with np.errstate(over="ignore"):
            ratio = p / m
        error = np.abs(ratio - 1)
        median, p90 = np.quantile(error, (0.5, 0.9))
        return {
            "n": int(m.size),
            "median_ape": finite(median),
            "mape": finite(np.mean(error)),
            "p90_ape": finite(p90),
            "bias": finite(np.median(ratio) - 1),
            "coverage_80": finite(np.mean((m >= low) & (m <= high))),
            "interval_width": finite(np.exp(np.median(np.log(high) - np.log(low)))) if np.all(low > 0) else None,
        }

    def by(self, codes: np.ndarray, values: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Metrics of each value's rows; ``codes`` has one for every row of the table, −1 for none."""
        own = codes[self.rows]
        order = np.argsort(own, kind="stable")
        bounds = np.searchsorted(own[order], np.arange(len(values) + 1))
        found = {v: self.metrics(order[bounds[i] : bounds[i + 1]]) for i, v in enumerate(values)}
        return {v: m for v, m in found.items() if m["n"]}

    def averages(self, kind: np.ndarray, group: np.ndarray) -> dict[str, Any]:
        """Errors averaged over classes, coverage over class × group: each counts alike, however many rows it has."""
        own = kind[self.rows]
        some = own >= 0
        codes, kinds = np.unique(own[some], return_inverse=True)
        if not codes.size:
            return {"classes": 0, "median_ape": None, "mape": None, "coverage_80": None}
        error = np.abs(self.predicted / self.measured - 1)[some]
        inside = ((self.measured >= self.low) & (self.measured <= self.high))[some]
        order = np.argsort(kinds, kind="stable")
        parts = np.split(error[order], np.cumsum(np.bincount(kinds))[:-1])
        groups = group[self.rows][some]
        _, cell = np.unique(kinds * (int(groups.max()) + 1) + groups, return_inverse=True)
        return {
            "classes": int(codes.size),
            "median_ape": finite(np.mean([np.median(e) for e in parts])),
            "mape": finite(np.mean([np.mean(e) for e in parts])),
            "coverage_80": finite(np.mean(np.bincount(cell, weights=inside) / np.bincount(cell))),
        }


def compared(measured: np.ndarray, outcome: Outcome, rate: bool) -> Compared:
    """Rows that can be compared; of a rate the limit is the greatest value."""
    rows = np.flatnonzero(np.isfinite(measured) & (measured > 0) & np.isfinite(outcome.predicted))
    m, limit = measured[rows], outcome.limit[rows]
    beyond = m > limit * (1 + BELOW) if rate else m < limit * (1 - BELOW)
    return Compared(rows, m, outcome.predicted[rows], outcome.low[rows], outcome.high[rows], limit, beyond)


def finite(value: Any) -> float | None:
    """A float JSON can hold."""
    return float(value) if np.isfinite(value) else None
