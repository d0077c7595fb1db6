"""Formats by regime: alone, a request waits for weights, and fewer bits of them win; in a full batch products wait for matrix units, and
only narrower products win.
"""

from __future__ import annotations

from typing import Any

from ... import loads
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

ID = "give-me-bf16-or-give-me-death-accuracy-performance-trade-off"
W4: dict[str, Any] = {"weights": "int4"}
# Formats of weights and activations beside, by what the card multiplies in.
OTHERS: dict[str, tuple[dict[str, Any], ...]] = {
    "a10": ({}, {"weights": "int8", "activations": "int8"}),
    "a100-sxm-80gb": ({}, {"weights": "int8", "activations": "int8"}),
    "h100-sxm-80gb": ({}, {"weights": "fp8", "activations": "fp8"}),
}


@derives(f"{ID}#4")
def alone(bench: Bench) -> Finding:
    """One request: the fastest other format over four-bit weights."""
    bench.stated(model="llama-3.1-8b", stack="vllm", batch=1)
    spans = []
    for machine in bench.unstated("machine", tuple(OTHERS)):
        for osl in bench.unstated("osl", (64, 256)):
            asked: dict[str, Any] = {"phase": "generate", "batch": 1, "isl": 512, "osl": osl, "stack": "vllm"}
            narrow = bench.ask("llama-3.1-8b", machine, **W4, **asked)
            others = [bench.ask("llama-3.1-8b", machine, **formats, **asked) for formats in OTHERS[machine]]
            spans.append(bench.speedup(min(others, key=lambda a: float(a.time)), narrow))
    return over(spans, "seconds of one request by the best of the other formats over those with four-bit weights")


@derives(f"{ID}#5")
def together(bench: Bench) -> Finding:
    """A full batch on the fastest cards: eight bits of both over four bits of weights."""
    bench.stated(model="llama-3.1-70b", stack="vllm")
    spans = []
    for machine, tp in bench.unstated("machine and devices", (("h100-sxm-80gb", 4), ("h100-sxm-80gb", 2)), "high-end"):
        for isl, osl in bench.unstated(
            "prompt and answer tokens", ((1024, 128), (2048, 64)), "prompts longer than answers: documents, code"
        ):
            load: dict[str, Any] = {
                "rate": 1000.0,
                "isl": isl,
                "osl": osl,
                "spread": 0.3,
                "requests": 200,
                "tp": tp,
                "stack": "vllm",
            }
            four = bench.serve("llama-3.1-70b", machine, **W4, **load)
            eight = bench.serve("llama-3.1-70b", machine, weights="fp8", activations="fp8", **load)
            spans.append(loads.ratio(four, eight, loads.metric("output_throughput")))
    return over(spans, "tokens a second of a full queue with eight-bit products over those with four-bit weights")
