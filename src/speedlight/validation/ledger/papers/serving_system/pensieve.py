"""Pensieve: a conversation's keys and values stay between its turns.

A stateless server prefills all that was said at every turn; kept, a turn prefills its own tokens. The gain grows with the turns and falls
where answers, which are decoded all the same, are long.
"""

from __future__ import annotations

from typing import Any

from .....serving.metrics import parse_slo
from ... import loads
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

TECHNIQUE = "stateful-conversations"


def _pairs(bench: Bench, rate: float, pause: float) -> list[tuple[loads.Variants, loads.Variants]]:
    pairs = []
    for model in bench.unstated("model", ("opt-13b", "llama-2-13b"), "13 billion parameters on one device of 80 GB"):
        for turns in bench.unstated("turns", (4, 8), "of a conversation"):
            load: dict[str, Any] = {
                "rate": rate, "turns": turns, "isl": 150, "osl": 150, "pause": pause, "requests": 20 * turns, "policy": "vllm@0",
            }  # fmt: skip
            pairs.append((bench.serve(model, "a100-sxm-80gb", **load), bench.serve(model, "a100-sxm-80gb", [TECHNIQUE], **load)))
    return pairs


@derives("stateful-large-language-model-serving-with-pensieve#1")
def throughput(bench: Bench) -> Finding:
    """Conversations a second that keep a time per token."""
    spans = []
    for tpot in bench.unstated("time per token kept", ("60ms", "100ms")):
        measure = loads.rate_within(parse_slo(f"ttft:p90<1s,tpot:p90<{tpot}"), halvings=6)
        spans += [loads.ratio(before, after, measure) for before, after in _pairs(bench, 1.0, 5.0)]
    return over(spans, "the largest rate of conversations within the objectives, with and without their earlier turns in memory")


@derives("stateful-large-language-model-serving-with-pensieve#2")
def latency(bench: Bench) -> Finding:
    """Mean latency of a request near the stateless server's limit, in % less."""
    spans = [
        loads.ratio(before, after, loads.metric("e2el"), falls=True).mapped(lambda x: (1 - 1 / x) * 100)
        for rate in bench.unstated("conversations a second", (4.0, 8.0), "near what the stateless server sustains")
        for before, after in _pairs(bench, rate, 5.0)
    ]
    return over(spans, "mean time of a request at the same rate of conversations")
