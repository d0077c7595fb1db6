"""Training steps on several devices as closed forms: pipelines filled and drained, gradients reduced behind the backward pass."""

from __future__ import annotations

from collections.abc import Sequence

from .._foundation.arrays import Value, maximum, where


def pipeline(stages: Sequence[Value], micro_batches: Value) -> Value:
    """Seconds of one pass of a GPipe pipeline (arXiv 1811.06965 §2.3): fill with the first micro-batch, then the slowest stage.

    Exact for stages that take equal time for every micro-batch and messages that hide: Σ t + (M − 1) · max t, which is
    (M + S − 1) · t for S equal stages.

    Args:
        stages: seconds each stage takes for one micro-batch.
        micro_batches: M ≥ 1.
    """
    filled: Value = 0.0
    slowest: Value = 0.0
    for seconds in stages:
        filled, slowest = filled + seconds, maximum(slowest, seconds)
    return filled + (micro_batches - 1) * slowest


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
