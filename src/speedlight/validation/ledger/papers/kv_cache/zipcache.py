"""ZipCache: salient tokens' keys and values in more bits; saliency from a few queries, so that attention stays fused.

Bits of the cache are the average over tokens. Methods before it take saliency from all attention scores, which are then written out.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives


@derives("zipcache#1")
def compression(bench: Bench) -> Finding:
    """Bytes of the cache before over after."""
    bench.stated(model="mistral-7b")
    spans = []
    for salient in bench.unstated("share of salient tokens", (0.5, 0.6, 0.7)):
        for high, low in bench.unstated("bits of salient and other tokens", ((4, 2),)):
            question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": 1024}
            whole = bench.ask("mistral-7b", "a100-sxm-80gb", **question)
            mixed = bench.ask(
                "mistral-7b",
                "a100-sxm-80gb",
                [f"kv-mixed-precision:salient={salient},high={bench.size(high)},low={low}"],
                **question,
            )
            spans.append(exactly(bench.memory(whole, "kv").value / bench.memory(mixed, "kv").value))
    return over(spans, "the average width of a value, one scale a token and one a channel")


def _prompt(bench: Bench) -> list[tuple[Any, Any]]:
    """(scores written out, attention fused) of LLaMA3-8B at 4096 tokens."""
    bench.stated(isl=4096)
    bench.given(
        "model",
        "llama-2-7b",
        "assumed",
        "LLaMA3-8B has as many query heads and layers; its code repeats keys before it multiplies",
    )
    pairs = []
    bench.given("stack", "torch-eager", "assumed", "research code")
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "a100-pcie-80gb", "rtx-3090")):
        for batch in bench.unstated("batch", (1, 8)):
            question: dict[str, Any] = {
                "phase": "prefill",
                "batch": batch,
                "isl": round(bench.size(4096)),
                "stack": "torch-eager",
            }
            written = bench.ask("llama-2-7b", machine, ["written-out-attention"], **question)
            pairs.append((written, bench.ask("llama-2-7b", machine, **question)))
    return pairs


@derives("zipcache#3")
def prefill(bench: Bench) -> Finding:
    """Time of a prompt saved by scores that stay on chip."""
    spans: list[Span] = [bench.speedup(a, b).mapped(lambda x: (1 - 1 / x) * 100) for a, b in _prompt(bench)]
    return over(
        spans,
        "attention whose scores pass through memory, against a fused kernel; saliency from a few rows costs next to nothing",
    )


@derives("zipcache#5")
def memory(bench: Bench) -> Finding:
    """Memory saved by the same."""
    spans = []
    for written, fused in _prompt(bench):
        share = 1 - bench.memory(fused).value / bench.memory(written).value
        spans.append(exactly(share * 100))
    return over(spans, "scores of one layer kept while they are used, over weights, cache and activations")
