"""Rows of a table (or any samples) → seconds with intervals, by a fit; and by the analytic terms where none applies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .model import Estimate, Fit, Part, estimate
from .samples import Family, Samples


@dataclass(frozen=True, slots=True)
class Forecast:
    """A value a row; NaN where the samples have none.

    Attributes:
        seconds, low, high, limit: predicted seconds, the ends of the 80 % interval, the speed of light.
        kernel: name of the kernel assumed to run ("" where none is known).
        depth: how well its class is known, or "" where nothing was fitted (``analytic``).
    """

    seconds: np.ndarray
    low: np.ndarray
    high: np.ndarray
    limit: np.ndarray
    kernel: np.ndarray
    depth: np.ndarray


UNFITTED = (1.0, 3.05)  # the interval of an analytic time: nothing is faster than it, little slower than this


def forecast(family: Family, samples: Samples, fit: Fit | None) -> Forecast:
    """Predict every usable row."""
    seconds, low, high = (np.full(samples.rows, np.nan) for _ in range(3))
    kernel = np.full(samples.rows, "", dtype=object)
    depth = np.full(samples.rows, "", dtype=object)
    for key, rows in zip(samples.classes, samples.members, strict=True):
        part = fit.part(key) if fit is not None else None
        if part is not None and not key.get("version"):
            key = {**key, "version": part.version(key)}
        terms = {n: v[rows] for n, v in samples.terms.items()}
        coords = {n: v[rows] for n, v in samples.coords.items()}
        limit = samples.limit[rows]
        if part is None:
            found = analytic(family, terms, limit)
            seconds[rows], low[rows], high[rows] = found, found * UNFITTED[0], found * UNFITTED[1]
            continue
        for own, chosen in by_kernel(family, part, key, coords, rows.size):
            at = rows[own]
            said = estimate(part, chosen, _at(terms, own), _at(coords, own), limit[own])
            seconds[at] = said.time
            low[at], high[at] = ends(said, limit[own])
            kernel[at] = chosen.get(family.kernels or "", "")
            depth[at] = said.depth
    return Forecast(seconds, low, high, samples.limit, kernel, depth)


def by_kernel(
    family: Family, part: Part, key: Mapping[str, str], coords: Mapping[str, np.ndarray], count: int
) -> Iterator[tuple[np.ndarray, Mapping[str, str]]]:
    """Rows of one class, by the kernel that runs: the one stated, else the one the stack chooses."""
    everything = np.arange(count)
    name = family.kernels
    if name is None or key.get(name) or part.choice is None:
        yield everything, key
        return
    chosen = part.choice.kernels(key, coords)
    if isinstance(chosen, str):
        yield everything, {**key, name: chosen}
        return
    for kernel in sorted(set(chosen.tolist())):
        yield np.flatnonzero(chosen == kernel), {**key, name: kernel}


def ends(said: Estimate, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval in seconds; nothing runs faster than its limit."""
    low = np.minimum(np.maximum(said.time * np.exp(said.low), limit), said.time)
    return low, said.time * np.exp(said.high)


def analytic(family: Family, terms: Mapping[str, np.ndarray], limit: np.ndarray) -> np.ndarray:
    """The unbent terms: the largest of the parallel ones plus the serial ones."""
    result = np.zeros_like(limit)
    for name in family.parallel:
        if name in terms:
            result = np.maximum(result, terms[name])
    for name in family.serial:
        if name in terms:
            result = result + terms[name]
    least: np.ndarray = np.maximum(result, limit)
    return least


def _at(values: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: v[rows] for name, v in values.items()}
