"""Pensieve: a conversation's keys and values stay between its turns.

A stateless server prefills all that was said at every turn; kept, a turn prefills its own tokens. The gain grows with the turns and falls
where answers, which are decoded all the same, are long.
"""

from __future__ import annotations

from typing import Any

from ... import loads
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

TECHNIQUE = "stateful-conversations"


def _spans(bench: Bench, measure: loads.Measure, *, falls: bool) -> list[Span]:
    spans = []
    for model, machine, tp in bench.unstated(
        "model, machine, devices", (("opt-13b", "a100-sxm-80gb", 1), ("llama-2-70b", "dgx-a100-80gb", 4)), "with as many heads of keys as of queries, and with few",
    ):  # fmt: skip
        for isl, osl in bench.unstated("tokens said and answered in a turn", ((100, 200), (200, 150))):
            load: dict[str, Any] = {
                "rate": 100.0, "turns": 8, "isl": isl, "osl": osl, "pause": 1.0, "requests": 160, "policy": "vllm@0", "tp": tp,
            }  # fmt: skip
            spans.append(
                loads.ratio(
                    bench.serve(model, machine, **load),
                    bench.serve(model, machine, [TECHNIQUE], **load),
                    measure,
                    falls=falls,
                )
            )
    return spans


WHY = (
    "conversations of eight turns, more than are served at once, with and without their earlier turns in the device's memory; what is "
    "evicted is computed again: a second tier in host memory is left out, which is what models with large caches gain by"
)


@derives("stateful-large-language-model-serving-with-pensieve#1")
def throughput(bench: Bench) -> Finding:
    """Tokens a second."""
    return over(_spans(bench, loads.metric("output_throughput"), falls=False), WHY)


@derives("stateful-large-language-model-serving-with-pensieve#2")
def latency(bench: Bench) -> Finding:
    """Mean time of a request, in % less."""
    return over([s.mapped(lambda x: (1 - 1 / x) * 100) for s in _spans(bench, loads.metric("e2el"), falls=True)], WHY)
