"""SwitchHead: a few heads with experts for values and results do the work of many at the same parameters."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("switchhead#1")
def matrices(bench: Bench) -> Finding:
    """Heads before over heads after at one budget of parameters.

    A dense head of width d has four projections, 4·D·d; a switched one of width d' two dense ones and two of E experts,
    (2 + 2E)·D·d'. Equal sums give H/H' = (1 + E)/2 · d'/d.
    """
    spans = []
    for experts in bench.unstated("experts", (4, 5), "of values and of results"):
        for wider in bench.unstated("width of a head over before", (1.5, 2.0, 3.0), "fewer heads are made wider"):
            spans.append(exactly(bench.size((1 + experts) / 2 * wider)))
    return over(spans, "heads at equal parameters: each has one attention matrix")
