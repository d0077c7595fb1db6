"""Gradients reduced behind the backward pass, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

from .._foundation.arrays import Value, maximum, where


def behind(parts: Sequence[tuple[Value, Value, Value]]) -> Value:
    """Seconds until the last gradient is reduced, when reductions run one after another behind the backward pass.

    A reduction starts when its part of the backward pass is done and the reduction before it. Of ``count`` equal parts in a row
    the last one waits longest where computing is slower than reducing, else the first: the end is the later of the two.

    Args:
        parts: (count, seconds of computing, seconds of reducing) of one instance, in the backward pass's order.

    Returns:
        seconds from the start of the backward pass; never less than computing alone takes.
    """
    computed: Value = 0.0
    reduced: Value = 0.0
    for count, compute, reduce in parts:
        present = where(count > 0, 1.0, 0.0)
        first = maximum(computed + present * compute, reduced) + count * reduce
        computed = computed + count * compute
        reduced = maximum(first, computed + present * reduce)
    return maximum(reduced, computed)
