"""HiRED: a fifth of the visual tokens goes to the language model.

Five pictures of 576 tokens an image: 2,880, then 576. The P40 has neither Tensor Cores nor a fast FP16, so products run at its FP32 rate,
and no fused attention, so scores are written out: they are half of the memory saved.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

BUDGET = "visual-token-budget:keep=0.2"


def _common(bench: Bench) -> dict[str, Any]:
    bench.stated(machine="p40", images=5, dtype="fp16")
    bench.given(
        "model",
        "llava-1.5-7b",
        "published",
        "LLaVA-Next-7B's language model and picture encoder; five tiles of 576 tokens",
    )
    return {
        "batch": bench.given("batch", 1, "published"),
        "images": 5,
        "dtype": "fp16",
        "stack": bench.given("stack", "transformers", "assumed"),
    }


def _written(bench: Bench) -> Any:
    return bench.unstated("attention", ((), ("written-out-attention",)), "fused, or scores written out as before Volta")


@derives("hired#2")
def throughput(bench: Bench) -> Finding:
    """Generated tokens a second, prompt included."""
    common = _common(bench)
    spans = []
    for words in bench.unstated("output tokens", (1, 2, 4, 8), "short answers about a picture"):
        for attention in _written(bench) if words == 1 else ((),):
            sizes = {"phase": "prefill", "isl": 60} if words == 1 else {"phase": "generate", "isl": 60, "osl": words}
            question: dict[str, Any] = {**sizes, **common}
            before, after = (bench.ask("llava-1.5-7b", "p40", t, **question) for t in (attention, (*attention, BUDGET)))
            spans.append(bench.speedup(before, after))
    return over(spans, "a short answer is its prompt: tokens a second rise as the prompt shrinks")


@derives("hired#3")
def first_token(bench: Bench) -> Finding:
    common = _common(bench)
    spans = []
    for attention in _written(bench):
        question: dict[str, Any] = {"phase": "prefill", "isl": 60, **common}
        before, after = (
            bench.time(bench.ask("llava-1.5-7b", "p40", t, **question)) for t in (attention, (*attention, BUDGET))
        )
        spans.append(Span(before.low - after.high, before.value - after.value, before.high - after.low))
    return over(
        spans,
        "31 TFLOP fewer at the P40's FP32 rate; the rest of the 15 s needs a slower path: products at the P40's FP16 rate, a 64th of FP32's, would take minutes",
    )


@derives("hired#4")
def memory(bench: Bench) -> Finding:
    common = _common(bench)
    found = []
    for text in bench.unstated("text tokens", (30, 60)):
        for attention in _written(bench):
            question: dict[str, Any] = {"phase": "prefill", "isl": text, **common}
            before, after = (
                bench.memory(bench.ask("llava-1.5-7b", "p40", t, **question)).value
                for t in (attention, (*attention, BUDGET))
            )
            found.append(exactly((before - after) / 1e9))
    return over(
        found, "2,304 tokens of 0.5 MB of keys and values, activations, and a layer's scores where they are written out"
    )
