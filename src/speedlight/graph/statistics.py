"""Named symbols of a graph that the question may leave open: defaults, and ranges of data statistics.

How many non-zeros a matrix has, how many nodes a graph walk visits, which share of look-ups hits a cache: such a number
belongs to the data, not to the model. Where nobody states it and a sensible range exists, the answer is an interval over
that range (DESIGN decision 8: an unstated statistic is an interval, not a default); where none exists it must be given.

A graph lists its symbols in order under ``attrs["statistics"]``; a default or a range's end may name earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.arrays import Value, where
from .._foundation.errors import BadInput
from .._foundation.expr import Expr, evaluate
from .ir import Graph

MOST_UNSTATED = 8  # symbols left open at once: their corners are 2^8 evaluations, one array axis


@dataclass(frozen=True, slots=True)
class Statistic:
    """A symbol with its meaning, and what holds where the question does not say.

    Attributes:
        name: as expressions use it and as the question sets it.
        about: what it counts.
        value: the default, or None.
        low, high: the ends of the range where it has no default, or None: then it must be given.
        least, most: the values that make sense.
        source: whose range it is, with its grade in front (``assumed: …``).
    """

    name: str
    about: str = ""
    value: Expr | None = None
    low: Expr | None = None
    high: Expr | None = None
    least: float = 0.0
    most: float = 1e15
    source: str = ""

    @property
    def open(self) -> bool:
        """Whether a range stands in where it is not stated."""
        return self.value is None and self.low is not None


def statistics_of(graph: Graph) -> tuple[Statistic, ...]:
    found: tuple[Statistic, ...] = graph.attrs.get("statistics", ())
    return found


def unstated(graph: Graph, given: Mapping[str, Any]) -> list[Statistic]:
    """Symbols whose ranges the answer must span.

    Raises:
        BadInput: where one must be given, or too many are left open.
    """
    found = []
    for statistic in statistics_of(graph):
        if statistic.name in given:
            continue
        if statistic.open:
            found.append(statistic)
        elif statistic.value is None:
            about = f" ({statistic.about})" if statistic.about else ""
            raise BadInput(
                f"{graph.name} leaves {statistic.name!r}{about} open", expected="a value: no range of it makes sense",
                hint=f"--set {statistic.name}=…",
            )  # fmt: skip
    if len(found) > MOST_UNSTATED:
        names = ", ".join(s.name for s in found)
        raise BadInput(
            f"{graph.name} leaves {len(found)} data statistics open: {names}",
            expected=f"at most {MOST_UNSTATED}", hint=f"--set {found[0].name}=…",
        )  # fmt: skip
    return found


def complete(graph: Graph, given: Mapping[str, Value], place: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """Values of all symbols: those given, then defaults, then a point of each range.

    Args:
        given: what the question states.
        place: by open symbol, where in its range it stands, 0 (low) to 1 (high), floats or arrays; the middle if absent:
            halfway by ratio where the range is of positive numbers, else halfway by difference.

    Raises:
        BadInput: for a range whose ends are not in order.
    """
    values = dict(given)
    for statistic in statistics_of(graph):
        if statistic.name in values:
            continue
        if statistic.value is not None:
            values[statistic.name] = _arithmetic(statistic.name, statistic.value, values)
        elif statistic.low is not None and statistic.high is not None:
            low, high = (_arithmetic(statistic.name, end, values) for end in (statistic.low, statistic.high))
            if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(np.asarray(low) <= high)):
                raise BadInput(f"{statistic.name} ranges from {low} to {high}", expected="two numbers in order")
            share = 0.5 if place is None else place.get(statistic.name, 0.5)
            values[statistic.name] = _between(low, high, share)
    return values


def _between(low: Value, high: Value, share: Value) -> Value:
    """The ends themselves at 0 and 1, to the last bit."""
    if np.all(np.asarray(low) > 0):
        inside = low * (high / low) ** share
    else:
        inside = low + (high - low) * share
    share = share if isinstance(share, np.ndarray) else float(share)
    if isinstance(share, np.ndarray):
        return np.where(share <= 0, low, np.where(share >= 1, high, inside))
    return where(share <= 0, low, where(share >= 1, high, inside))


def _arithmetic(name: str, expr: Expr, values: Mapping[str, Value]) -> Value:
    env = {k: float(v) if isinstance(v, (int, np.generic)) else v for k, v in values.items()}
    try:
        return evaluate(expr, env)
    except (ArithmeticError, ValueError) as error:
        raise BadInput(
            f"{name} cannot be worked out: {error}", expected=f"sizes for which {expr} is a number"
        ) from None


def corners(names: Sequence[str], depth: int) -> dict[str, np.ndarray]:
    """Every combination of ends of the ranges, and the point where all stand in the middle, along a new first axis.

    Args:
        names: the open symbols.
        depth: axes of the question's own arrays, which come after.

    Returns:
        by name, where in its range it stands at each point; of shape (2^n + 1, 1, …).
    """
    points = 2 ** len(names)
    index = np.arange(points)
    ends = {name: np.append((index >> bit) & 1, 0.5) for bit, name in enumerate(names)}
    return {name: row.reshape(points + 1, *(1,) * depth).astype(float) for name, row in ends.items()}
