"""From measured rows to a family's fit, and to predictions of rows it was not fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..calibration.model import Fitted, Part, Spread, combine, reader, settled
from ..calibration.naming import field_of
from ..calibration.samples import Family, Samples
from . import solve
from .choose import learn_choice
from .rising import risen, steady
from .solve import Data, held

MOST_ROWS = 80_000  # rows of one partition that the shared blocks are fitted to
FIELDS = (
    "device", "architecture", "instructions", "memory", "framework", "version", "format", "path", "kernel", "implementation",
    "op",
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A table's usable rows: what :mod:`.solve` needs, with the row numbers they came from.

    Attributes:
        data: see :class:`Data`; key fields of every class as codes.
        rows: row number of each entry.
        group: code of the group left out as a whole.
        limit: seconds.
    """

    data: Data
    rows: np.ndarray
    group: np.ndarray
    limit: np.ndarray

    def of(self, field: str) -> np.ndarray:
        """A key field's value, row by row."""
        names = np.asarray(self.data.names[field], dtype=object)
        values: np.ndarray = names[self.data.keys[field]]
        return values


def training(samples: Samples, measured: np.ndarray, group: np.ndarray, extra: Sequence[str] = ()) -> Training:
    """Rows with a view and a positive measurement, weighted so that every class counts alike."""
    fields = (*FIELDS, *extra)
    usable = np.zeros(samples.rows, dtype=bool)
    for members in samples.members:
        usable[members] = True
    usable &= np.isfinite(measured) & (measured > 0) & np.isfinite(samples.limit)
    names: dict[str, tuple[str, ...]] = {}
    keys: dict[str, np.ndarray] = {}
    weight = np.ones(samples.rows)
    for name in fields:
        known: dict[str, int] = {}
        codes = np.zeros(samples.rows, dtype=np.int32)
        for key, members in zip(samples.classes, samples.members, strict=True):
            codes[members] = known.setdefault(field_of(key, name), len(known))
        names[name] = tuple(known)
        keys[name] = codes
    typical = float(np.mean([m.size for m in samples.members])) if samples.members else 1.0
    for members in samples.members:
        weight[members] = np.clip(typical / max(members.size, 1), 0.2, 5.0)
    rows = np.flatnonzero(usable)
    data = Data(dict(samples.terms), dict(samples.coords), keys, names, measured, weight).take(rows)
    return Training(data, rows, group[rows], samples.limit[rows])


def train(family: Family, data: Data) -> dict[tuple[str, ...], Part]:
    """Fit every partition; parts come with an empty spread (see :func:`.spread.spread_of`)."""
    parts = {}
    for cls, own in partitions(family, data):
        few = thin(own)
        power = family.powers.get(cls, family.power)
        shared = solve.gauss_newton(family.parallel, family.serial, power, held(family.shared, family.counted), few)
        shared = steady(family, shared, few)
        part = Part(
            family.parallel, family.serial, power, shared, Spread((), {}), pairs(own), present(own, "architecture"),
            learn_choice(family, own) if family.kernels else None,
        )  # fmt: skip
        for stage in family.local:
            residual = np.log(own.measured) - np.log(times(part, own))
            fitted = risen(family, part, solve.linear(stage, own, residual), own)
            part = _with(part, (*part.blocks, *fitted))
        parts[cls] = part
    return parts


def partitions(family: Family, data: Data) -> list[tuple[tuple[str, ...], Data]]:
    classes, inverse = data.classes(family.partition)
    return [(cls, data.take(np.flatnonzero(inverse == i))) for i, cls in enumerate(classes)]


def thin(data: Data) -> Data:
    """At most :data:`MOST_ROWS` rows, evenly spread (rows lie class by class)."""
    return data.take(solve.evenly(np.arange(data.measured.size), MOST_ROWS))


def times(part: Part, data: Data) -> np.ndarray:
    """Seconds of every row."""
    return combined(part, data, part.blocks)


def combined(part: Part, data: Data, blocks: Sequence[Fitted]) -> np.ndarray:
    bends = settled(evaluate(blocks, data))
    busy = {n: data.terms[n] * np.exp(bends.get(n, 0.0)) for n in (*part.parallel, *part.serial)}
    result: np.ndarray = combine(part, busy) * np.exp(bends.get("total", 0.0))
    floored: np.ndarray = np.maximum(result, solve.TINY)
    return floored


def evaluate(blocks: Sequence[Fitted], data: Data) -> dict[str, np.ndarray]:
    """Bends of all rows, class by class."""
    per = tuple(dict.fromkeys(name for f in blocks for name in f.block.per))
    classes, inverse = data.classes(per)
    result: dict[str, np.ndarray] = {}
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(classes) + 1))
    for number, cls in enumerate(classes):
        rows = order[bounds[number] : bounds[number + 1]]
        ready = reader(blocks, dict(zip(per, cls, strict=True)))
        for term, value in ready.read({n: v[rows] for n, v in data.coords.items()}).items():
            result.setdefault(term, np.zeros(data.measured.size))[rows] = value
    return result


def residuals(family: Family, parts: Mapping[tuple[str, ...], Part], data: Data) -> np.ndarray:
    result = np.full(data.measured.size, np.nan)
    classes, inverse = data.classes(family.partition)
    for number, cls in enumerate(classes):
        if cls in parts:
            rows = np.flatnonzero(inverse == number)
            own = data.take(rows)
            result[rows] = np.log(own.measured) - np.log(times(parts[cls], own))
    return result


def folds(group: np.ndarray, count: int = 5, seed: int = 0) -> np.ndarray:
    """A fold for every row; rows of one group share it."""
    values, inverse = np.unique(group, return_inverse=True)
    return (np.random.default_rng(seed).permutation(values.size) % count)[inverse]


def pairs(data: Data) -> frozenset[tuple[str, str, str]]:
    return frozenset((d, f, v) for d, f, v in data.classes(("device", "framework", "version"))[0])


def present(data: Data, name: str) -> frozenset[str]:
    return frozenset(cls[0] for cls in data.classes((name,))[0])


def _with(part: Part, blocks: tuple[Fitted, ...]) -> Part:
    return Part(
        part.parallel, part.serial, part.power, blocks, part.spread, part.devices, part.architectures, part.choice
    )
