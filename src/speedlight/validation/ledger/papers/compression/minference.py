"""MInference: a million tokens on one A100. Attention is 96 % of the work; computing a few percent of its pairs takes that away.

Causal attention of 32 layers of width 4096 over 10^6 tokens is 2.6e17 FLOP, the layers 1.6e16: half an hour at half the A100's peak.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


def _question(bench: Bench) -> dict[str, Any]:
    bench.stated(model="llama-3.1-8b", batch=1, isl=1e6)
    return {"phase": "prefill", "batch": 1, "isl": 1e6}


@derives("minference-1-0#1")
def dense(bench: Bench) -> Finding:
    common = _question(bench)
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "a100-pcie-80gb"), "an A100"):
        for stack in bench.unstated("stack", ("vllm", "transformers")):
            spans.append(bench.time(bench.ask("llama-3.1-8b", machine, stack=stack, **common)).mapped(lambda s: s / 60))
    return over(
        spans,
        "a prompt of 10^6 tokens with fused causal attention; that 131 GB of keys and values fit somewhere is taken for granted",
        more=False,
    )


@derives("minference-1-0#2")
def sparse(bench: Bench) -> Finding:
    common = _question(bench)
    spans = []
    machine = bench.given("machine", "a100-sxm-80gb", "published")
    for keep in bench.unstated("share of the pairs", (0.05, 0.075, 0.1), "patterns per head that keep a few percent"):
        before = bench.ask("llama-3.1-8b", machine, stack=bench.given("stack", "vllm", "assumed"), **common)
        after = bench.ask("llama-3.1-8b", machine, [f"sparse-prefill:keep={keep}"], stack="vllm", **common)
        spans.append(bench.speedup(before, after))
    return over(spans, "attention over the kept pairs, linear layers whole; finding the patterns is taken to be free")
