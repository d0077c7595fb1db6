"""Parts of a time, each bent by what its row is told by; fitted as :mod:`..deployments.fitting` fits serving engines.

    time = Σ_c exp(Σ_levels θ) · part_c

Small tables: few levels, drawn towards nothing, and Cauchy's weights for rows nothing explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Levels = Mapping[str, tuple[tuple[tuple[str, ...], float], ...]]
SCALE = 0.08
STEPS = 60


@dataclass(frozen=True)
class Part:
    """A row: seconds by column, and the labels its bends are told by."""

    seconds: Mapping[str, float]
    labels: Mapping[str, str]
    limit: float = 0.0


@dataclass(frozen=True)
class Fitted:
    """Values by key, with the ends of intervals by label ``task``."""

    values: Mapping[str, float] = field(default_factory=dict)
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)


def keys(levels: Levels, column: str, labels: Mapping[str, str]) -> list[str]:
    return ["|".join((column, *(f"{f}={labels.get(f, '')}" for f in fields))) for fields, _ in levels[column]]


def seconds(part: Part, levels: Levels, values: Mapping[str, float]) -> float:
    """The bent time of one row."""
    total = 0.0
    for column, amount in part.seconds.items():
        total += amount * float(np.exp(sum(values.get(k, 0.0) for k in keys(levels, column, part.labels))))
    return max(total, part.limit)


def solve(parts: Sequence[Part], measured: np.ndarray, levels: Levels) -> dict[str, float]:
    """Values that explain the rows (Levenberg–Marquardt on the logs, the levels' widths as ridge)."""
    columns = list(levels)
    names: dict[str, int] = {}
    widths: list[float] = []
    places = []
    for column in columns:
        rows = []
        for part in parts:
            here = []
            for key, (_, width) in zip(keys(levels, column, part.labels), levels[column], strict=True):
                if key not in names:
                    names[key] = len(widths)
                    widths.append(width)
                here.append(names[key])
            rows.append(here)
        places.append(np.array(rows, dtype=np.int64))
    amounts = np.array([[part.seconds.get(c, 0.0) for c in columns] for part in parts])
    target, prior = np.log(measured), 1.0 / np.array(widths) ** 2
    every = np.arange(len(parts))[:, None]

    def bent(theta: np.ndarray) -> np.ndarray:
        return np.asarray(amounts * np.exp(np.stack([theta[place].sum(1) for place in places], 1)))

    def cost(theta: np.ndarray) -> float:
        left = (target - np.log(bent(theta).sum(1))) / (2 * SCALE)
        return float(2 * np.log1p(left**2).sum() + (theta**2 * prior).sum() / 2)

    theta, damping = np.zeros(len(widths)), 1e-3
    best = cost(theta)
    for _ in range(STEPS):
        found = bent(theta)
        whole = found.sum(1)
        slope = np.zeros((len(parts), len(widths)))
        for number, place in enumerate(places):
            np.add.at(slope, (every, place), (found[:, number] / whole)[:, None])
        left = target - np.log(whole)
        weight = 1.0 / (1.0 + (left / (2 * SCALE)) ** 2) / SCALE**2
        normal = np.diag(prior) + slope.T @ (slope * weight[:, None])
        pull = slope.T @ (weight * left) - theta * prior
        gained = 0.0
        while damping < 1e6:
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), pull)
            now = cost(theta + step)
            if now < best:
                gained, best, theta, damping = best - now, now, theta + step, max(damping / 3, 1e-6)
                break
            damping *= 4
        if gained < 1e-3:
            break
    return {name: round(float(theta[place]), 4) for name, place in names.items() if abs(theta[place]) >= 5e-4}
