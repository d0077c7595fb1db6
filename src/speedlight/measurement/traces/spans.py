"""Sets of moments as sorted, disjoint spans: union, difference, intersection, length. Arrays of shape (spans, 2), seconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Spans = npt.NDArray[np.float64]

NOTHING: Spans = np.zeros((0, 2))


def union(start: npt.ArrayLike, end: npt.ArrayLike) -> Spans:
    """Moments in any of the given intervals."""
    starts, ends = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    some = ends > starts
    starts, ends = starts[some], ends[some]
    if not starts.size:
        return NOTHING
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    fresh = np.concatenate(([True], starts[1:] > ends[:-1]))
    heads = np.flatnonzero(fresh)
    tails = np.concatenate((heads[1:] - 1, [starts.size - 1]))
    return np.stack([starts[heads], ends[tails]], axis=1)


def either(one: Spans, other: Spans) -> Spans:
    """Moments in one or the other."""
    both = np.concatenate([one, other])
    return union(both[:, 0], both[:, 1])


def without(one: Spans, other: Spans) -> Spans:
    """Moments in ``one`` and not in ``other``."""
    return _swept(one, other, lambda a, b: a & ~b)


def common(one: Spans, other: Spans) -> Spans:
    """Moments in both."""
    return _swept(one, other, lambda a, b: a & b)


def length(spans: Spans) -> float:
    """Seconds in all."""
    return float((spans[:, 1] - spans[:, 0]).sum())


def _swept(one: Spans, other: Spans, keep) -> Spans:  # type: ignore[no-untyped-def]
    """A sweep over all ends: what holds between two neighbouring ends decides whether the piece is kept."""
    if not one.size:
        return NOTHING
    edges = np.unique(np.concatenate([one.ravel(), other.ravel()]))
    left, right = edges[:-1], edges[1:]
    kept = keep(_covers(one, left), _covers(other, left))
    return union(left[kept], right[kept])


def _covers(spans: Spans, moments: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each moment lies in a span (its start included)."""
    if not spans.size:
        return np.zeros(moments.shape, dtype=bool)
    index = np.searchsorted(spans[:, 0], moments, side="right") - 1
    inside: npt.NDArray[np.bool_] = (index >= 0) & (moments < spans[np.maximum(index, 0), 1])
    return inside
