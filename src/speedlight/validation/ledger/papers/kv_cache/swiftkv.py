"""SwiftKV: keys and values of later layers come from an early layer's output, so prompt tokens skip what those layers compute.

A prompt costs the first layers, and the others' projections to keys and values. Neighbouring layers of the later ones share caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

MODELS = (("llama-3.1-8b", 1), ("llama-3.1-70b", 4))
SWIFT = "single-input-kv:layers=0.5"


def _loads(bench: Bench) -> Iterator[tuple[str, dict[str, Any]]]:
    """Long prompts and short answers: what the method is for."""
    bench.given("stack", "vllm")
    bench.given("layers that prompts pass by", 0.5, "assumed", "the later half")
    for model, tp in bench.unstated("model and ranks", MODELS, "Llama models of two sizes"):
        for isl in bench.unstated("prompt", (2000, 8000, 32000)):
            yield model, {"batch": 16, "isl": round(bench.size(isl)), "tp": tp, "stack": "vllm"}


def _machine(question: dict[str, Any]) -> str:
    return "h100-sxm-80gb" if question["tp"] == 1 else "dgx-h100"


@derives("swiftkv#1")
def computed(bench: Bench) -> Finding:
    """FLOPs of a prompt saved."""
    spans = []
    for model, question in _loads(bench):
        before, after = (bench.ask(model, _machine(question), t, phase="prefill", **question) for t in ([], [SWIFT]))
        spans.append(exactly((1 - float(after.flops) / float(before.flops)) * 100))
    return over(spans, "half of the layers left out for prompt tokens, but for their keys and values")


@derives("swiftkv#2")
def cache(bench: Bench) -> Finding:
    """Bytes kept saved by sharing among neighbours of the later half."""
    spans = []
    for model, question in _loads(bench):
        for together in bench.unstated("neighbouring layers that share", (2, 4)):
            layers = bench.size(0.5 * (1 - 1 / together))
            tried: tuple[list[str], list[str]] = ([], [f"kv-layer-sharing:layers={layers}"])
            before, after = (bench.ask(model, _machine(question), t, phase="prefill", **question) for t in tried)
            spans.append(exactly((1 - bench.memory(after, "kv").value / bench.memory(before, "kv").value) * 100))
    return over(spans, "one cache for several layers of the later half; formats stay as they were")


@derives("swiftkv#3")
def throughput(bench: Bench) -> Finding:
    """Tokens a second of prompts and answers together."""
    spans: list[Span] = []
    for model, question in _loads(bench):
        for osl in bench.unstated("answer", (128, 256)):
            sizes = {**question, "osl": osl, "phase": "generate"}
            before, after = (bench.ask(model, _machine(question), t, **sizes) for t in ([], [SWIFT]))
            spans.append(bench.speedup(before, after, of="throughput"))
    return over(spans, "prompts in about half the time, answers as before")


@derives("swiftkv#4")
def between_tokens(bench: Bench) -> Finding:
    """Time between tokens of a server that reads prompts between steps: each token waits for its share of a prompt."""
    spans = []
    for model, question in _loads(bench):
        for osl in bench.unstated("answer", (128, 256)):
            sizes = {**question, "osl": osl, "phase": "generate"}
            before, after = (float(bench.ask(model, _machine(question), t, **sizes).time) for t in ([], [SWIFT]))
            spans.append(exactly((1 - after / before) * 100))
    return over(spans, "in a full server as many prompts are read as answers end, so a token takes its share of both")


def _served(bench: Bench) -> Iterator[tuple[float, float, float, float]]:
    """(low, value, high, limit) of prompt and answer tokens a second, of a 70B model on four H100."""
    for isl in bench.unstated("prompt", (2000, 8000)):
        for osl in bench.unstated("answer", (128, 256)):
            bench.given("stack", "vllm")
            bench.given("machine", "H100", "published")
            answer = bench.ask(
                "llama-3.1-70b", "dgx-h100", [SWIFT], phase="generate", batch=32, isl=isl, osl=osl, tp=4, stack="vllm"
            )
            tokens = 32 * (isl + osl)
            yield tuple(tokens / float(t) for t in (answer.high, answer.time, answer.low, answer.limit))  # type: ignore[misc]


@derives("swiftkv#5")
def normalised(bench: Bench) -> Finding:
    """TFLOP/s of a GPU as if every token had run the whole model."""
    each = 2 * bench.facts("llama-3.1-70b")["params"] / 4 / 1e12
    spans = [Span(low * each, value * each, high * each, most * each) for low, value, high, most in _served(bench)]
    return over(spans, "prompt and answer tokens a second times the unchanged model's FLOPs for one")


@derives("swiftkv#6")
def served(bench: Bench) -> Finding:
    """Prompt and answer tokens a second."""
    return over([Span(*each) for each in _served(bench)], "prompts that skip half of the layers, and their answers")
