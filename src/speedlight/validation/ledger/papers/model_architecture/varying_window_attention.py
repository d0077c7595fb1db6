"""Varying window attention: a query window of P × P looks at a context window of R·P × R·P.

Its scores and its context's copies grow with R² until the context is pooled back to P × P before they are made. Arithmetic of the windows.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

NAME = "multi-scale-representations-by-varying-window-attention-for"


def _work(window: float, times: float, channels: float) -> float:
    """FLOPs of one window's scores and weighted sums, and of its context's keys and values."""
    queries, context = window**2, (times * window) ** 2
    return 4 * queries * context * channels + 4 * context * channels**2


@derives(f"{NAME}#1")
def growth(bench: Bench) -> Finding:
    spans = []
    for window in bench.unstated("window", (8, 16)):
        for channels in bench.unstated("channels", (128, 512)):
            ratios = (2.0, 4.0, 8.0)
            found = bench.slope(ratios, [_work(window, r, channels) for r in ratios])
            spans.append(Span(found.low, found.value, found.high))
    return over(spans, "slope of the work of scores, sums, keys and values in the ratio of the windows")


@derives(f"{NAME}#2")
def pooled(bench: Bench) -> Finding:
    """The context averaged back to the query's window: the same products, and a pass that averages."""
    spans = []
    for window in bench.unstated("window", (8, 16)):
        for channels in bench.unstated("channels", (128, 512)):
            for times in bench.unstated("ratio", (2.0, 8.0)):
                pooling = (times * window) ** 2 * channels
                spans.append(exactly((_work(window, 1.0, channels) + pooling) / _work(window, 1.0, channels)))
    return over(
        spans, "products of the pooled context and the additions that pool it, over those of local windows", more=False
    )
