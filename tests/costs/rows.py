"""What the shipped fits say of single rows of the tables they were fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np

from speedlight.costs import families  # noqa: F401  registers the tables
from speedlight.costs.calibration.predict import Forecast, forecast
from speedlight.costs.calibration.samples import TABLES, assemble
from speedlight.costs.calibration.store import shipped


def row(table: str, **columns: Any) -> float:
    """Seconds the shipped fit says of one row."""
    return float(answer(table, **columns).seconds[0])


def chosen(table: str, **columns: Any) -> str:
    """The kernel it takes to run where the row names none."""
    return str(answer(table, **columns).kernel[0])


def answer(table: str, **columns: Any) -> Forecast:
    """All it says of one row."""
    rules = TABLES.get(table)
    (target,) = rules.targets
    given = {"version": "", "kernel_source": "", **columns}
    arrays = {k: np.array([v], dtype=object if isinstance(v, str) else float) for k, v in given.items()}
    samples = assemble(rules, target, arrays, 1)
    assert samples.status[0] == "ok", samples.status[0]
    return forecast(target.family, samples, shipped(table))
