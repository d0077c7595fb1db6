"""The quadratic synchronisation rule: computing stays, the exchange happens once in H steps.

A run takes C + X hours, computing and exchange; with averages once in H steps C + X/H. The plain runs at two scales are stated, and one
of the rule's runs gives the other: computing of 64 GPUs is a quarter of 16's.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

PERIODS = (4.0, 8.0, 20.0)  # the rule's floor is 4, its late steps are many times that


def _from_the_other(bench: Bench, plain: float, ruled: float, other: float, scale: float) -> Finding:
    """Hours of the rule's run at one scale.

    Args:
        plain, ruled: hours of both runs at the stated scale.
        other: hours of the plain run at the scale asked about.
        scale: its computing over the stated scale's.
    """
    for what, hours in (("plain run", plain), ("the rule's run", ruled), ("plain run at the other scale", other)):
        bench.given(what, hours)
    spans = []
    for period in bench.unstated("mean period", PERIODS, "its floor of 4 steps, and what growing periods make of it"):
        exchange = (plain - ruled) / (1.0 - 1.0 / period)
        compute = bench.size(plain - exchange) * scale
        hours = compute + max(other - compute, 0.0) / period
        spans.append(Span(hours, hours, hours, compute))
    return over(spans, "computing and exchange of the stated runs told apart, the exchange once in H steps", more=False)


@derives("a-quadratic-synchronization-rule-for-distributed-deep-learni#2")
def sixty_four(bench: Bench) -> Finding:
    """Hours on 64 GPUs from the runs on 16."""
    return _from_the_other(bench, 26.7, 20.2, 8.6, 16 / 64)


@derives("a-quadratic-synchronization-rule-for-distributed-deep-learni#1")
def sixteen(bench: Bench) -> Finding:
    """Hours on 16 GPUs from the runs on 64."""
    return _from_the_other(bench, 8.6, 5.5, 26.7, 64 / 16)
