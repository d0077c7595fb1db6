"""M6-T: can a trillion parameters be trained on 480 cards of 32 GB?"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("m6-t#3")
def gigabytes(bench: Bench) -> Finding:
    """What a card must hold of 1 T parameters with an optimizer whose states are factored: weights and gradients, 4 + 4 bytes,
    up to mixed-precision Adam's 16."""
    cards = bench.given("devices", 480)
    params = bench.size(bench.given("parameters", 1e12))
    spans = [
        exactly(params * size / cards / 1e9)
        for size in bench.unstated(
            "bytes a parameter", (8, 12, 16), "factored states in fp32, in part, mixed-precision Adam"
        )
    ]
    return over(
        spans, "bytes of weights, gradients and states on each of 480 cards; Adam's 16 leave no room for activations"
    )
