"""ISO: a prompt in two parts, one computes while the other's partial sums are added up.

What can be hidden is the messages' share of a prompt: large where cards meet over PCIe (RTX 4090), small over NVLink (A800).
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import at_most, mean

TECHNIQUE = "sequence-halves-overlap"


def _less(bench: Bench, machine: str, formats: tuple[str, ...]) -> Finding:
    """Per cent less time, the mean over models and prompts, which the source averages over ("approximately", "roughly")."""
    bench.stated(machine=machine)
    bench.given("stack", "vllm", "assumed", "an inference engine of its own")
    bench.given("batch", 1, "unstated", "one prompt")
    spans: list[Span] = []
    for tp in bench.unstated("tp", (4, 8)):
        for weights in bench.unstated("weights", formats):
            found: list[Span] = []
            for model in bench.unstated("model", ("codellama-34b", "llama-2-70b"), "30B to 70B"):
                for isl in bench.unstated("isl", (4096, 16384)):
                    common: dict[str, Any] = {
                        "phase": "prefill", "batch": 1, "isl": isl, "tp": tp, "weights": weights, "stack": "vllm",
                    }  # fmt: skip
                    before = bench.ask(model, machine, **common)
                    free = bench.ask(model, machine, [f"{TECHNIQUE}:units=0"], **common)
                    most = bench.speedup(before, free).high  # messages that hold no compute units
                    gained = at_most(bench.speedup(before, bench.ask(model, machine, [TECHNIQUE], **common)), most)
                    found.append(gained.mapped(lambda x: 100 * (1 - 1 / x)))
            spans.append(mean(found))
    return over(spans, "seconds of a prompt with its two halves taking turns, per cent less; weights are read twice")


@derives("iso#1")
def geforce(bench: Bench) -> Finding:
    """On RTX 4090 cards that meet over PCIe."""
    return _less(bench, "rtx-4090", ("int8",))


@derives("iso#2")
def a800(bench: Bench) -> Finding:
    """On A800 cards over NVLink."""
    return _less(bench, "a800-sxm-80gb", ("bf16", "int8"))
