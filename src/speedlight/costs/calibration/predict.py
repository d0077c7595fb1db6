"""Rows of a table (or any samples) → seconds with intervals, by a fit; and by the analytic terms where none applies.

What a user's own points say of a device (:mod:`.local`) is layered over either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value
from ...hardware.machine import LocalCalibration
from .local import bare, local_of, localised, unbent
from .model import Bends, Estimate, Fit, Part, bends, bent
from .samples import Family, Samples

Rows = np.ndarray | slice
Values = Mapping[str, Value]


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
        rows: their numbers, or a slice of them.
        key: their class, the kernel and the version named where either was left to the stack.
        part, found: the fit; without tables where none is shipped.
        terms: seconds at the machine's rates.
    """

    rows: Rows
    key: Mapping[str, str]
    part: Part
    found: Bends
    terms: Mapping[str, Value]


def forecast(family: Family, samples: Samples, fit: Fit | None) -> Forecast:
    """Predict every usable row."""
    said = blank(samples.limit)
    for look in looks(family, samples, fit):
        own = samples.calibrations.get(look.key.get("device", ""), ())
        enter(said, family, look, samples.limit[look.rows], local_of(own, family.name, look.key.get("framework", "")))
    return said


def blank(limit: np.ndarray) -> Forecast:
    """Nothing said yet of rows with these limits."""
    seconds, low, high = (np.full(limit.size, np.nan) for _ in range(3))
    kernel, depth = (np.full(limit.size, "", dtype=object) for _ in range(2))
    return Forecast(seconds, low, high, limit, kernel, depth)


def enter(into: Forecast, family: Family, look: Look, limit: Value, local: LocalCalibration | None) -> None:
    """Write what a fit, corrected by the user's own points, says of some rows."""
    at, found = look.rows, look.found
    said = bent(look.part, found if local is None else localised(look.part, found, local), look.terms, limit)
    into.seconds[at] = said.time
    into.low[at], into.high[at] = ends(said, limit)
    into.kernel[at] = look.key.get(family.kernels or "", "") if found.depth else ""
    into.depth[at] = said.depth


def looks(family: Family, samples: Samples, fit: Fit | None) -> Iterator[Look]:
    """Every usable row, class by class and kernel by kernel."""
    for key, rows in zip(samples.classes, samples.members, strict=True):
        yield from class_looks(family, fit, key, rows, at(samples.terms, rows), at(samples.coords, rows))


def class_looks(
    family: Family, fit: Fit | None, key: Mapping[str, str], rows: Rows, terms: Values, coords: Values
) -> Iterator[Look]:
    """Rows of one class, kernel by kernel; their terms and coordinates are numbers, or arrays of a value a row."""
    part = fit.part(key) if fit is not None else None
    if part is None:
        yield Look(rows, key, bare(family.parallel, family.serial), unbent(), terms)
        return
    key = key if key.get("version") else {**key, "version": part.version(key)}
    for own, chosen in by_kernel(family, part, key, coords):
        if own is None:
            yield Look(rows, chosen, part, bends(part, chosen, coords, terms), terms)
        else:
            some = np.arange(rows.start, rows.stop)[own] if isinstance(rows, slice) else rows[own]
            yield Look(some, chosen, part, bends(part, chosen, at(coords, own), terms), at(terms, own))


def by_kernel(
    family: Family, part: Part, key: Mapping[str, str], coords: Values
) -> Iterator[tuple[np.ndarray | None, Mapping[str, str]]]:
    """Rows of one class (None for all of them), by the kernel that runs: the one stated, else the one the stack chooses."""
    name = family.kernels
    if name is None or key.get(name) or part.choice is None:
        yield None, key
        return
    chosen = part.choice.codes(key, coords)
    if isinstance(chosen, str):
        yield None, {**key, name: chosen}
        return
    names, codes = chosen
    counts = np.bincount(codes)
    for number in np.flatnonzero(counts).tolist():
        rows = None if counts[number] == codes.size else np.flatnonzero(codes == number)
        yield rows, {**key, name: names[number]}


def ends(said: Estimate, limit: Value) -> tuple[Value, Value]:
    """Ends of the interval in seconds; nothing runs faster than its limit."""
    low = np.minimum(np.maximum(said.time * np.exp(said.low), limit), said.time)
    return low, said.time * np.exp(said.high)


def at(values: Values, rows: np.ndarray) -> dict[str, Value]:
    """Some rows of terms or coordinates; a number is that of every row."""
    return {name: v[rows] if isinstance(v, np.ndarray) else v for name, v in values.items()}
