"""COAT: optimizer moments and saved activations in FP8 beside FP8 products.

Moments fall to a quarter of fp32's; of what a layer saves, inputs of products and of pointwise functions fall to half, attention's
own and the statistics stay. Parallel shares shift the weight between the two.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

SAVED = (
    0.55  # share of the activations' bytes left in FP8 with group scales, attention's output and statistics in 16 bits
)
FP8 = ("fp8-training", "low-bit-optimizer-states:format=fp8")


def _questions(bench: Bench) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for model in bench.unstated("model", ("llama-2-7b", "llama-2-13b")):
        for dp in bench.unstated("devices", (2, 4, 8), "sharded data parallel over H100s"):
            for batch in bench.unstated("sequences a device", (1, 2)):
                found.append(
                    (
                        model,
                        {"phase": "train", "batch": batch * dp, "micro_batch": batch, "isl": 2048, "dp": dp, "zero": 3},
                    )
                )
    return found


def _beside(bench: Bench, before: Any, after: Any) -> float:
    """Bytes of a step in FP8 beside what layers save; weights stay in 16 bits."""
    rest = bench.memory(after).value - bench.memory(after, "activations", "weights").value
    return rest + bench.memory(before, "weights").value


@derives("coat#1")
def memory(bench: Bench) -> Finding:
    found = []
    share = bench.given("activations left", SAVED, "assumed", "FP8 for all but attention's output and statistics")
    for model, common in _questions(bench):
        before, after = bench.ask(model, "dgx-h100", **common), bench.ask(model, "dgx-h100", FP8, **common)
        held = _beside(bench, before, after) + bench.memory(before, "activations").value * share
        found.append(exactly(bench.memory(before).value / held))
    return over(
        found, "the ledger of a training step, moments in FP8 and what layers save for their backward pass in FP8"
    )


@derives("coat#2")
def speed(bench: Bench) -> Finding:
    spans = []
    for model, common in _questions(bench):
        spans.append(bench.speedup(bench.ask(model, "dgx-h100", **common), bench.ask(model, "dgx-h100", FP8, **common)))
    return over(
        spans,
        "products at the FP8 rate, quantisation in passes of its own; fusing those with their neighbours is not in the model",
    )


@derives("coat#3")
def batch(bench: Bench) -> Finding:
    """The largest micro-batch in FP8 over that in BF16."""
    found = []
    share = bench.given("activations left", SAVED, "assumed", "FP8 for all but attention's output and statistics")
    for model in bench.unstated("model", ("llama-2-7b", "llama-2-13b")):
        for dp in bench.unstated("devices", (4, 8), "sharded data parallel over H100s"):
            common: dict[str, Any] = {"phase": "train", "batch": dp, "micro_batch": 1, "isl": 2048, "dp": dp, "zero": 3}
            before, after = bench.ask(model, "dgx-h100", **common), bench.ask(model, "dgx-h100", FP8, **common)
            saved, capacity = bench.memory(before, "activations").value, float(before.memory.capacity)
            wide = (capacity - bench.memory(before).value + saved) / saved
            narrow = (capacity - _beside(bench, before, after)) / (saved * share)
            found.append(exactly(max(1, narrow // 1) / max(1, wide // 1)))
    return over(found, "memory beside weights, gradients and moments over what a sequence saves")
