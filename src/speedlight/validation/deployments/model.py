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

from ...engine.serving.serving_fit import BASE, LEVELS, keys
from .features import COLUMNS

# Share of time requests keep together before fitting: sweeps with equal lengths, benchmarks whose lengths vary.
_ALIKE = {"sweep": 1.0, "bench": -2.0}


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
    """Seconds by row, and the logs' derivatives by value where asked for."""

    ttft: np.ndarray
    tpot: np.ndarray
    by_value: tuple[np.ndarray, np.ndarray] | None = None


_UNITS = np.array([BASE.get(column, 1.0) for column in COLUMNS])


def latencies(made: Design, theta: np.ndarray, weights: np.ndarray, derivatives: bool = False) -> Latencies:
    """Latencies of rows.

    Args:
        made, theta: the values and where they go.
        weights: (rows, metrics, ways, columns), see :class:`.features.Features`.
        derivatives: also d log(latency) / d value.
    """
    logs = {column: theta[made.places[column]].sum(1) for column in LEVELS}
    share = 1.0 / (1.0 + np.exp(-(made.start + logs["alike"])))[:, None, None]
    mixed = (weights[:, :, 0] * share + weights[:, :, 1] * (1 - share)) * _UNITS
    bend = np.exp(np.stack([logs[column] for column in COLUMNS], 1))[:, None]
    part = mixed * bend
    speed = np.exp(logs["speed"])
    part[:, 1] *= speed[:, None]
    tpot = part[:, 1].sum(1)
    constant = BASE["constant"] * np.exp(logs["constant"])
    wait = BASE["wait"] * np.exp(logs["wait"])
    ttft = part[:, 0].sum(1) + constant + wait * tpot
    if not derivatives:
        return Latencies(ttft, tpot)
    rows = np.arange(len(ttft))[:, None]
    first, each = (np.zeros((len(ttft), len(theta))) for _ in range(2))

    def add(column: str, of_first: np.ndarray, of_each: np.ndarray) -> None:
        np.add.at(first, (rows, made.places[column]), (of_first / ttft)[:, None])
        np.add.at(each, (rows, made.places[column]), (of_each / tpot)[:, None])

    for k, column in enumerate(COLUMNS):
        add(column, part[:, 0, k] + wait * part[:, 1, k], part[:, 1, k])
    add("speed", wait * tpot, tpot)
    add("constant", constant, 0.0 * tpot)
    add("wait", wait * tpot, 0.0 * tpot)
    swing = ((weights[:, :, 0] - weights[:, :, 1]) * _UNITS * bend).sum(2) * (share * (1 - share))[:, :, 0]
    add("alike", swing[:, 0] + wait * swing[:, 1] * speed, swing[:, 1] * speed)
    return Latencies(ttft, tpot, (first, each))
