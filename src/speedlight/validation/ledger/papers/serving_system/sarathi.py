"""Sarathi-Serve: prompts in chunks beside decoding, so that no token waits for a whole prompt.

Orca and vLLM run a prompt in one step, which every decoding sequence waits out; under a tight tail of the gap between tokens they must
take few requests. A token budget bounds every step, at the price of more steps for a prompt.
"""

from __future__ import annotations

from typing import Any

from .....serving.metrics import parse_slo
from ... import loads
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

# (tail of the gap between tokens, token budget): a tight objective is served with small chunks, a loose one with large ones.
OBJECTIVES = {"mistral-7b": (("100ms", 512), ("500ms", 2048)), "falcon-180b": (("500ms", 512), ("2s", 2048))}
PROMPTS = (1700, 250)  # mean tokens of a conversation's prompt, with its history, and of the answer


def _capacities(bench: Bench, model: str, machine: str, **layout: Any) -> list[Span]:
    spans = []
    bench.stated(model=model, machine=machine)
    isl, osl = bench.given("prompt and answer tokens", PROMPTS, "assumed", "a conversation with its history")
    for tail, budget in bench.unstated("99th percentile of the gap between tokens, token budget", OBJECTIVES[model]):
        load: dict[str, Any] = {"rate": 1.0, "isl": isl, "osl": osl, "spread": 0.8, "requests": 36, "max_seqs": 128}
        measure = loads.rate_within(parse_slo(f"itl:p99<{tail},ttft:p50<5s"), halvings=6)
        after = bench.serve(model, machine, [f"chunked-prefill:tokens={budget}"], policy="vllm@0", **load, **layout)
        for policy in bench.unstated("baseline", ("orca", "vllm@0"), "both are named; the gain is over the weaker"):
            spans.append(
                loads.ratio(bench.serve(model, machine, policy=policy, **load, **layout), after, measure, apart=False)
            )
    return spans


WHY = (
    "requests a second that keep the tail of the gap between tokens, chunks against whole prompts; the trace and the objective are "
    "left open by the source"
)


@derives("taming-throughput-latency-tradeoff-in-llm-inference-with-sar#1")
def mistral(bench: Bench) -> Finding:
    """One A100."""
    return over(_capacities(bench, "mistral-7b", "a100-sxm-80gb"), WHY)


@derives("taming-throughput-latency-tradeoff-in-llm-inference-with-sar#2")
def falcon(bench: Bench) -> Finding:
    """Eight A100, tensor parallel; the bubbles that uneven steps leave between pipeline stages are not simulated."""
    spans = _capacities(bench, "falcon-180b", "dgx-a100-80gb", tp=8)
    return over(
        spans,
        WHY + "; eight-way tensor parallel: bubbles of pipeline stages, which uneven steps cause, are left unexplained",
    )
