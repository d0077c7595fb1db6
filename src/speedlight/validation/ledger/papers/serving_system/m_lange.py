"""Mélange: small requests are cheapest on small GPUs, large ones on large.

Tokens a second over dollars an hour, by card and request size; a mix takes the best of each, a fleet of one type pays the difference.
"""

from __future__ import annotations

from typing import Any

from ... import loads
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

# Dollars an hour of one card on demand, as remembered of cloud price lists of 2024.
PRICES = {"l4": 0.70, "a10": 1.01, "a100-sxm-80gb": 3.67, "h100-sxm-80gb": 7.52}


@derives("m-lange#1")
def reduction(bench: Bench) -> Finding:
    """In % of the cost of the dearest single type."""
    spans = []
    for machine, price in PRICES.items():
        bench.given(f"dollars an hour of {machine}", price, "assumed", "cloud price lists as remembered")
    for isl, osl in bench.unstated("prompt and answer tokens", ((60, 60), (300, 150)), "short conversations"):
        load: dict[str, Any] = {"concurrency": 64, "requests": 128, "isl": isl, "osl": osl, "stack": "vllm"}
        tokens = {
            m: loads.alone(bench.serve("llama-2-7b", m, **load), loads.metric("output_throughput")) for m in PRICES
        }
        dear = {m: (PRICES[m] / t.high, PRICES[m] / t.value, PRICES[m] / t.low) for m, t in tokens.items()}
        best, worst = (pick(dear.values(), key=lambda v: v[1]) for pick in (min, max))
        cuts = sorted((1 - b / w) * 100 for b, w in ((best[2], worst[0]), (best[1], worst[1]), (best[0], worst[2])))
        spans.append(Span(cuts[0], cuts[1], cuts[2]))
    idle = (1 - min(PRICES.values()) / max(PRICES.values())) * 100
    bench.given(
        "rates so low that one small card keeps up",
        "or not",
        "unstated",
        "a whole card is paid for then, whatever it does",
    )
    spans.append(Span(idle, idle, idle, idle))
    return over(
        spans,
        "dollars a token of a saturated card by type, the cheapest against the dearest; or one whole card of each where hardly anything comes",
    )
