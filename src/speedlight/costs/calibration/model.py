"""A fit and what it says of a kernel.

    log t_r' = log t_r + Σ blocks of term r          for every term r
    time     = ((Σ_parallel t_r'^p)^(1/p) + Σ_serial t_r') · exp(Σ blocks of "total" + Σ blocks of "ripple", within ±RIPPLE)

Blocks look at sizes and never at rates, so time rises with every t_r and falls with every rate. The p-norm is the usual
smooth maximum of a roofline's corner: overlap is imperfect where two resources need about the same time.

Steps of tiles and alignment come as *ripple*, which is bounded: where the rest rises with a size, time never falls below
exp(-2 RIPPLE) of what a smaller size took, anywhere.

How far the answer may be off depends on how well its class is known: ``known`` (this device and stack were measured),
``relative`` (another device of its architecture was) or ``stranger`` (neither); ``local`` is a user's own points of it (:mod:`.local`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum
from .blocks import Block
from .choice import Choice
from .merging import merged
from .naming import field_of
from .reading import Reader

Key = Mapping[str, str]
DEPTHS = ("known", "relative", "stranger", "local")
WIDTH = "width"  # where a reader keeps the error's log scale among its terms
RIPPLE = 0.1  # log: 1.22 between the highest and the lowest
WIDEST = 0.0  # log scale of the widest error: beyond a factor e the scale says only that nothing like it was measured


@dataclass(frozen=True)
class Fitted:
    """A block with its tables, one for each class measured."""

    block: Block
    tables: Mapping[tuple[str, ...], np.ndarray]

    def table(self, key: Key) -> np.ndarray | None:
        return self.tables.get(tuple(field_of(key, name) for name in self.block.per))


@dataclass(frozen=True)
class Spread:
    """How wide residuals are: log|residual| has its scale from blocks; quantiles of residual over scale come by depth.

    Attributes:
        scale: blocks of log scale.
        quantiles: (depth, *class) → (q10, q90) of residual / scale; the empty class holds for any.
        shared: depth → share of the variance that a whole class has in common.
    """

    scale: tuple[Fitted, ...]
    quantiles: Mapping[tuple[str, ...], tuple[float, float]]
    shared: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Part:
    """The fit of one partition (see :class:`.samples.Family`); compared by identity, so that tables of a class are kept ready."""

    parallel: tuple[str, ...]
    serial: tuple[str, ...]
    power: float
    blocks: tuple[Fitted, ...]
    spread: Spread
    devices: frozenset[tuple[str, str, str]]
    architectures: frozenset[str]
    choice: Choice | None = None

    def version(self, key: Key) -> str:
        """The version measured of a stack on a device (the last, where there are several), for who states none."""
        found = [v for d, f, v in self.devices if (d, f) == (key.get("device", ""), key.get("framework", ""))]
        return max(found, default="")


@dataclass(frozen=True)
class Fit:
    """A family's fit: its parts and the header that says what it rests on."""

    family: str
    header: Mapping[str, Any]
    partition: tuple[str, ...]
    parts: Mapping[tuple[str, ...], Part]

    def part(self, key: Key) -> Part | None:
        return self.parts.get(tuple(key.get(name, "") for name in self.partition))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a fit says.

    Attributes:
        time: seconds, never below the limit.
        busy: bent seconds by term; ``total`` blocks included.
        low, high: logs of the factors between ``time`` and the ends of the 80 % interval (≤ 0 and ≥ 0).
        depth: one of :data:`DEPTHS`.
        shared: share of the error's variance that a device and stack have in common.
    """

    time: Value
    busy: Mapping[str, Value]
    low: Value
    high: Value
    depth: str
    shared: float = 1.0


@dataclass(frozen=True, slots=True)
class Bends:
    """What a fit makes of coordinates alone, for one class.

    Attributes:
        factor: term (or ``total``) → efficiency's inverse, to multiply its seconds by.
        low, high: logs of the factors to the ends of the 80 % interval.
        depth, shared: see :class:`Estimate`.
    """

    factor: Mapping[str, Value]
    low: Value
    high: Value
    depth: str
    shared: float


def bends(part: Part, key: Key, coords: Mapping[str, Value], terms: Iterable[str]) -> Bends:
    """Read the tables of one class; floats or arrays.

    Args:
        terms: the kernel's terms; tables of others are not looked at.
    """
    factor = _ready(part, tuple(sorted(key.items())), frozenset(terms)).read(coords)
    width = _exp(minimum(factor.pop(WIDTH, 0.0), WIDEST))
    factor = {term: _exp(value) for term, value in settled(factor).items()}
    depth = depth_of(part, key)
    low, high = quantiles_of(part.spread, key, depth)
    return Bends(factor, width * low, width * high, depth, part.spread.shared.get(depth, 1.0))


def settled(sums: Mapping[str, Value]) -> Mapping[str, Value]:
    """Sums of blocks by term, the bounded ripple added to ``total``."""
    if "ripple" not in sums:
        return sums
    rest = {term: value for term, value in sums.items() if term != "ripple"}
    rest["total"] = rest.get("total", 0.0) + maximum(minimum(sums["ripple"], RIPPLE), -RIPPLE)
    return rest


def bent(part: Part, found: Bends, terms: Mapping[str, Value], limit: Value) -> Estimate:
    """Bend the terms; the time never falls below the limit."""
    total = found.factor.get("total", 1.0)
    busy = {n: terms[n] * found.factor.get(n, 1.0) for n in (*part.parallel, *part.serial) if n in terms}
    time = maximum(combine(part, busy) * total, limit)
    busy = {name: seconds * total for name, seconds in busy.items()}
    return Estimate(time, busy, found.low, found.high, found.depth, found.shared)


def estimate(part: Part, key: Key, terms: Mapping[str, Value], coords: Mapping[str, Value], limit: Value) -> Estimate:
    """Bend the terms of one class; floats or arrays."""
    return bent(part, bends(part, key, coords, terms), terms, limit)


@lru_cache(maxsize=256)
def _ready(part: Part, key: tuple[tuple[str, str], ...], terms: frozenset[str]) -> Reader:
    own = [fitted for fitted in part.blocks if fitted.block.term in {*terms, "total", "ripple"}]
    return reader(own, dict(key), part.spread.scale)


def reader(blocks: Sequence[Fitted], key: Key, scale: Sequence[Fitted] = ()) -> Reader:
    """The tables of one class, merged where they can be; those of the error's scale as the term :data:`WIDTH`."""
    named = [(f.block.term, f) for f in blocks] + [(WIDTH, f) for f in scale]
    found = [(term, fitted.block.axes, fitted.table(key)) for term, fitted in named]
    return Reader(merged([(term, axes, table) for term, axes, table in found if table is not None]))


def combine(part: Part, busy: Mapping[str, Value]) -> Value:
    """Parallel terms by p-norm, serial ones added."""
    own = [busy[name] for name in part.parallel if name in busy]
    total: Value = 0.0
    if len(own) == 1:
        total = own[0]
    elif part.power == math.inf:
        for seconds in own:
            total = maximum(total, seconds)
    elif part.power == 2.0:
        for seconds in own:
            total = total + seconds * seconds
        total = total**0.5
    elif part.power == 3.0:
        for seconds in own:
            total = total + seconds * seconds * seconds
        total = np.cbrt(total) if isinstance(total, np.ndarray) else total ** (1.0 / 3.0)
    elif own:
        largest = own[0]
        for seconds in own[1:]:
            largest = maximum(largest, seconds)
        safe = maximum(largest, 1e-30)
        for seconds in own:
            total = total + (seconds / safe) ** part.power
        total = safe * total ** (1.0 / part.power)
    for name in part.serial:
        if name in busy:
            total = total + busy[name]
    return total


def depth_of(part: Part, key: Key) -> str:
    """How well the class is known."""
    if (key.get("device", ""), key.get("framework", ""), key.get("version", "")) in part.devices:
        return "known"
    return "relative" if key.get("architecture", "") in part.architectures else "stranger"


def quantiles_of(spread: Spread, key: Key, depth: str) -> tuple[float, float]:
    """10 % and 90 % quantiles of residual over scale: of the class where it has its own, else of the depth.

    A class is a device and a stack, or those with a kernel or a sort of step (training); a sort of step is one on any device, too.
    """
    device, framework, kernel, step = (key.get(name, "") for name in ("device", "framework", "kernel", "step"))
    whole = (depth, device, framework)
    for cls in ((*whole, kernel), (*whole, step), whole, (depth, "", "", step), (depth,)):
        if cls in spread.quantiles:
            return spread.quantiles[cls]
    return -1.0, 1.0


def _exp(value: Value) -> Value:
    return np.exp(value) if isinstance(value, np.ndarray) else math.exp(value)
