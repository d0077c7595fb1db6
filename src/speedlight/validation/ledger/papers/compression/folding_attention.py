"""Folding attention: a streaming speech model with a quarter fewer weights, a few tokens a call.

With so few tokens every weight is loaded for little work, so power goes where the loads go.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("folding-attention#2")
def power(bench: Bench) -> Finding:
    smaller = bench.given("size", 24.0, "published", "the abstract's model size reduction in %")
    shares = bench.unstated(
        "share of the power that loading weights takes", (0.8, 0.9, 1.0), "small batches of a streaming model"
    )
    return over(
        [exactly(bench.size(smaller * share)) for share in shares],
        "power saved in proportion to the bytes loaded; what the rest of the device takes is left as it is",
    )
