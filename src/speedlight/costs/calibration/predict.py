"""Rows of a table (or any samples) → seconds with intervals, by a fit; and by the analytic terms where none applies.

What a user's own points say of a device (:mod:`.local`) is layered over either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .local import bare, local_of, localised, unbent
from .model import Bends, Estimate, Fit, Part, bends, bent
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


@dataclass(frozen=True, slots=True)
class Look:
    """Rows of one class that run one kernel, and what the fit makes of their coordinates.

    Attributes:
        rows: their numbers.
        key: their class, the kernel and the version named where either was left to the stack.
        part, found: the fit; without tables where none is shipped.
        terms: seconds at the machine's rates.
    """

    rows: np.ndarray
    key: Mapping[str, str]
    part: Part
    found: Bends
    terms: Mapping[str, np.ndarray]


def forecast(family: Family, samples: Samples, fit: Fit | None) -> Forecast:
    """Predict every usable row."""
    seconds, low, high = (np.full(samples.rows, np.nan) for _ in range(3))
    kernel = np.full(samples.rows, "", dtype=object)
    depth = np.full(samples.rows, "", dtype=object)
    for look in looks(family, samples, fit):
        at, found, limit = look.rows, look.found, samples.limit[look.rows]
        own = samples.calibrations.get(look.key.get("device", ""), ())
        local = local_of(own, family.name, look.key.get("framework", ""))
        said = bent(look.part, found if local is None else localised(look.part, found, local), look.terms, limit)
        seconds[at] = said.time
        low[at], high[at] = ends(said, limit)
        kernel[at] = look.key.get(family.kernels or "", "") if found.depth else ""
        depth[at] = said.depth
    return Forecast(seconds, low, high, samples.limit, kernel, depth)


def looks(family: Family, samples: Samples, fit: Fit | None) -> Iterator[Look]:
    """Every usable row, class by class and kernel by kernel."""
    for key, rows in zip(samples.classes, samples.members, strict=True):
        part = fit.part(key) if fit is not None else None
        terms = {n: v[rows] for n, v in samples.terms.items()}
        if part is None:
            yield Look(rows, key, bare(family.parallel, family.serial), unbent(), terms)
            continue
        key = key if key.get("version") else {**key, "version": part.version(key)}
        coords = {n: v[rows] for n, v in samples.coords.items()}
        for own, chosen in by_kernel(family, part, key, coords, rows.size):
            yield Look(rows[own], chosen, part, bends(part, chosen, _at(coords, own)), _at(terms, own))


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


def _at(values: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: v[rows] for name, v in values.items()}
