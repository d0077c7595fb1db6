"""Rows' latencies from their features and the bends, with derivatives for the fit.

    TPOT = speed · Σ_c bend_c · weight_c(TPOT)
    TTFT = Σ_c bend_c · weight_c(TTFT) + constant + wait · TPOT

Weights are those of requests that keep together (all alike) and of requests whose lengths spread them out, mixed by a share
``alike`` of each engine and client. ``constant`` is the way of a request in and out (HTTP, tokeniser, first streamed token);
``wait`` are decode steps that pass before a request is seen (overlapped schedulers, intervals of polling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...engine.serving.serving_fit import BASE, FREE, LEVELS, keys
from .columns import COLUMNS

# Log-odds of requests keeping together before fitting: sweeps with equal lengths, benchmarks whose lengths vary, split pools.
_ALIKE = {"sweep": 1.0, "bench": -2.0, "split": -1.0}


@dataclass(frozen=True)
class Design:
    """Which values bend which row.

    Attributes:
        names: of the values; ``sd``: how far each may be from nothing.
        places: column → (rows, levels) places in ``names``.
        start: (rows,) log-odds of ``alike`` before fitting.
    """

    names: tuple[str, ...]
    sd: np.ndarray
    places: Mapping[str, np.ndarray]
    start: np.ndarray

    def vector(self, values: Mapping[str, float]) -> np.ndarray:
        return np.array([values.get(name, 0.0) for name in self.names])


def design(labels: Sequence[Mapping[str, str]]) -> Design:
    """The values that rows with these labels have."""
    names: dict[str, int] = {}
    sd: list[float] = []
    places = {}
    for column, levels in LEVELS.items():
        rows = []
        known: dict[tuple[str, ...], list[int]] = {}
        for label in labels:
            told = tuple(label.values())
            if told not in known:
                here = []
                for name, (_, width) in zip(keys(column, label), levels, strict=True):
                    if name not in names:
                        names[name] = len(sd)
                        sd.append(width)
                    here.append(names[name])
                known[told] = here
            rows.append(known[told])
        places[column] = np.array(rows, dtype=np.int64).reshape(len(labels), -1)
    start = np.array([_ALIKE.get(label["client"], 0.0) for label in labels])
    return Design(tuple(names), np.array(sd), places, start)


@dataclass(frozen=True)
class Latencies:
    """Seconds by row, and where asked for (TTFT, TPOT) d log(latency) / d bend: (rows, columns of ``LEVELS``)."""

    ttft: np.ndarray
    tpot: np.ndarray
    by_column: tuple[np.ndarray, np.ndarray] | None = None


_FROM = np.array([1.0 if column in FREE else 0.0 for column in COLUMNS])
_UNITS = np.array([BASE.get(column, 1.0) for column in COLUMNS])


def latencies(made: Design, theta: np.ndarray, weights: np.ndarray, derivatives: bool = False) -> Latencies:
    """Latencies of rows.

    Args:
        made, theta: the values and where they go.
        weights: (rows, metrics, ways, columns), see :class:`.features.Features`.
        derivatives: also those of their logs by the log of every column's bend.
    """
    logs = {column: theta[made.places[column]].sum(1) for column in LEVELS}
    share = 1.0 / (1.0 + np.exp(-(made.start + logs["alike"])))[:, None, None]
    mixed = (weights[:, :, 0] * share + weights[:, :, 1] * (1 - share)) * _UNITS
    bend = np.exp(np.stack([logs[column] for column in COLUMNS], 1))[:, None]
    speed = np.exp(logs["speed"])
    mixed[:, 1] *= speed[:, None]
    part = mixed * (bend - _FROM)
    tpot = part[:, 1].sum(1)
    constant = BASE["constant"] * np.exp(logs["constant"])
    wait = BASE["wait"] * np.exp(logs["wait"])
    ttft = part[:, 0].sum(1) + constant + wait * tpot
    if not derivatives:
        return Latencies(ttft, tpot)
    swing = ((weights[:, :, 0] - weights[:, :, 1]) * _UNITS * (bend - _FROM)).sum(2) * (share * (1 - share))[:, :, 0]
    swing[:, 1] *= speed
    part = mixed * bend
    of_each = dict(zip(COLUMNS, part[:, 1].T, strict=True)) | {"speed": tpot, "alike": swing[:, 1]}
    of_first = dict(zip(COLUMNS, part[:, 0].T, strict=True)) | {"constant": constant, "alike": swing[:, 0]}
    none = np.zeros_like(tpot)
    each = np.stack([of_each.get(column, none) for column in LEVELS], 1)
    first = np.stack([of_first.get(column, none) for column in LEVELS], 1) + wait[:, None] * each
    first[:, list(LEVELS).index("wait")] = wait * tpot
    return Latencies(ttft, tpot, (first / ttft[:, None], each / tpot[:, None]))
