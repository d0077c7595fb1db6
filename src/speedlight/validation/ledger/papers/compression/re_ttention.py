"""Re-ttention: self-attention over 3.1 % of the pairs in all but the first steps, the softmax's sum corrected from the step before.

What that is worth end to end is attention's share of a step, which grows with a video's length and resolution.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives
from .parts import of_kind

MODELS = ("cogvideox-2b", "cogvideox-5b", "cogvideox1.5-5b")


def _percent(ratio: float) -> float:
    return (1 - 1 / ratio) * 100


@derives("re-ttention#2")
def whole(bench: Bench) -> Finding:
    bench.stated(machine="h100-sxm-80gb", share=0.031)
    spans = []
    for model in bench.unstated("model", MODELS, "CogVideoX"):
        for full in bench.unstated("share of the steps that look at all pairs", (0.0, 0.1), "the first few"):
            common: dict[str, Any] = {
                "phase": "generate",
                "batch": bench.given("batch", 1, "published"),
                "stack": bench.given("stack", "torch-eager", "assumed"),
            }
            before = bench.ask(model, "h100-sxm-80gb", **common)
            spans.append(
                bench.speedup(
                    before, bench.ask(model, "h100-sxm-80gb", [f"sparse-latent-attention:full={full}"], **common)
                ).mapped(_percent)
            )
    return over(spans, "all programs of a generation, self-attention at 3.1 % of its pairs")


@derives("re-ttention#3")
def attention(bench: Bench) -> Finding:
    """Attention's own rows of a step."""
    bench.stated(machine="h100-sxm-80gb", share=0.031)
    spans = []
    for model in bench.unstated("model", MODELS, "CogVideoX"):
        common: dict[str, Any] = {
            "phase": "forward",
            "batch": bench.given("batch", 1, "published"),
            "stack": bench.given("stack", "torch-eager", "assumed"),
        }
        gain = of_kind(bench, "attention", model, "h100-sxm-80gb", ["sparse-latent-attention:full=0"], common)
        spans.append(gain.mapped(_percent))
    return over(spans, "attention kernels over the kept pairs, queries, keys and values still read whole")
