"""What a suite is: which columns are measured, which group rows belong to, and a predictor of inputs only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._foundation.registry import Registry
from ..evidence.tables import Table
from ..hardware.machine import Machine

Columns = Mapping[str, np.ndarray]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Predictions of one measured column, a value a row; NaN where ``status`` is neither ok nor inferred."""

    predicted: np.ndarray
    limit: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True)
class Kernels:
    """Which kernel a stack is said to run, beside the one the row states.

    Attributes:
        chosen: by the stack's rules alone, ``""`` where it has none; never looks at what the row states.
        stated: by the row.
        single: rows whose inputs were measured with one kernel only, so that a choice can be right or wrong.
    """

    chosen: np.ndarray
    stated: np.ndarray
    single: np.ndarray


@dataclass(frozen=True, slots=True)
class Predicted:
    """Outcomes by measured column, with the layer each row rests on and its status (CONTRACT).

    Attributes:
        outcomes, layer, status: see the class.
        fits: measured column → header of the fit it rests on; none where nothing was fitted.
        classes: names of the classes whose errors are averaged (device|framework|format).
        kind: class number of each row; −1 where it has none.
        kernels: where the suite knows kernels.
        parts: names of sorts of rows that ask different things and are judged apart; empty where all ask the same.
        part: number of each row's sort; −1 where it has none.
    """

    outcomes: Mapping[str, Outcome]
    layer: np.ndarray
    status: np.ndarray
    fits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    kind: np.ndarray | None = None
    kernels: Kernels | None = None
    parts: tuple[str, ...] = ()
    part: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """What cross-validation leaves out: ``by`` group or device; of devices only those named, if any."""

    by: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """One table's rules.

    Attributes:
        name: the table's base name.
        measured: columns never handed to the predictor.
        predicted: measured columns the suite predicts.
        required: input columns without which nothing can be predicted.
        group: the key that is left out as a whole in cross-validation.
        slices: columns errors are reported by.
        predict: inputs (column → array) and number of rows → predictions.
        rate: measured columns whose greatest value is the limit.
        on: as ``predict``, with the machine of rows that name no device; None where rows must name theirs.
        cross: refits the suite's procedure and predicts rows by fits that did not see them; None where nothing is fitted.
    """

    name: str
    measured: tuple[str, ...]
    required: tuple[str, ...]
    group: tuple[str, ...]
    slices: tuple[str, ...]
    predict: Callable[[Columns, int], Predicted]
    rate: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    cross: Callable[[Table, Leave, Progress], Predicted] | None = None
    on: Callable[[Columns, int, Machine], Predicted] | None = None

    def inputs(self, table: Table) -> dict[str, np.ndarray]:
        """What a predictor may see."""
        return {n: c for n, c in table.columns.items() if n not in self.measured}


SUITES: Registry[Suite] = Registry("suite", "speedlight.suites")
