"""What a suite is: which columns are measured, which group rows belong to, and a predictor of inputs only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .._foundation.registry import Registry


@dataclass(frozen=True, slots=True)
class Outcome:
    """Predictions of one measured column, a value a row; NaN where ``status`` is neither ok nor inferred."""

    predicted: np.ndarray
    limit: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True)
class Predicted:
    """Outcomes by measured column, with the layer each row rests on and its status (CONTRACT)."""

    outcomes: Mapping[str, Outcome]
    layer: np.ndarray
    status: np.ndarray


@dataclass(frozen=True, slots=True)
class Suite:
    """One table's rules.

    Attributes:
        name: the table's base name.
        measured: columns never handed to the predictor.
        required: input columns without which nothing can be predicted.
        group: the key that is left out as a whole in cross-validation.
        slices: columns errors are reported by.
        predict: inputs (column → array) and number of rows → predictions.
        rate: measured columns whose greatest value is the limit.
    """

    name: str
    measured: tuple[str, ...]
    required: tuple[str, ...]
    group: tuple[str, ...]
    slices: tuple[str, ...]
    predict: Callable[[Mapping[str, np.ndarray], int], Predicted]
    rate: tuple[str, ...] = ()


SUITES: Registry[Suite] = Registry("suite", "speedlight.suites")
