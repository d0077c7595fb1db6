"""What a derivation finds, in the claim's own unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..._foundation.provenance import Grade
from ...scenario.file import to_plain


@dataclass(frozen=True, slots=True)
class Given:
    """One input of a derivation.

    Attributes:
        grade: of a figure from the claim's own source ``published``; ``unstated`` where the source leaves it open and ``value`` is
            the range of admissible values that was walked through; ``assumed`` where one value was chosen instead.
    """

    what: str
    value: Any
    grade: Grade | str
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "value": to_plain(self.value), "grade": self.grade, "source": self.source}


@dataclass(frozen=True, slots=True)
class Span:
    """A predicted figure with its interval.

    Attributes:
        bound: the best physics allows (the largest where more is better, else the least); None where there is no such thing.
    """

    low: float
    value: float
    high: float
    bound: float | None = None

    def mapped(self, function: Callable[[float], float]) -> Span:
        """The figure in another unit; a falling function swaps the ends."""
        a, b = function(self.low), function(self.high)
        bound = None if self.bound is None else function(self.bound)
        return Span(min(a, b), function(self.value), max(a, b), bound)


def exactly(value: float) -> Span:
    """A figure without error: bytes, FLOPs, parameters."""
    return Span(value, value, value, value)


@dataclass(frozen=True, slots=True)
class Finding:
    """See the module docstring.

    Attributes:
        low, high: what the engine predicts over every admissible value of what is unstated, intervals included.
        value: at the middle of what is admissible.
        bound: the best physics allows over all of it.
        why: in words: what the engine computes, what it assumes, what is left unexplained.
        inputs: everything it rests on; ``stated`` False where one is unstated or assumed.
        capped: it rests on a kernel's efficiency that somebody published or assumed: at most *bounded*.
    """

    low: float
    value: float
    high: float
    bound: float | None = None
    why: str = ""
    inputs: tuple[Given, ...] = ()
    capped: bool = False

    @property
    def stated(self) -> bool:
        return all(g.grade not in ("unstated", "assumed") for g in self.inputs)


def over(spans: Iterable[Span], why: str, *, more: bool = True) -> Finding:
    """The finding of all admissible settings together.

    Args:
        more: whether more of the figure is better, which says which of the bounds is the best.
    """
    found = list(spans)
    if not found:
        raise ValueError("no admissible setting")
    values = sorted(s.value for s in found)
    bounds = [s.bound for s in found if s.bound is not None]
    best = (max if more else min)(bounds) if bounds else None
    return Finding(min(s.low for s in found), values[len(values) // 2], max(s.high for s in found), best, why)


def with_inputs(finding: Finding, inputs: tuple[Given, ...], capped: bool) -> Finding:
    return replace(finding, inputs=inputs, capped=finding.capped or capped)
