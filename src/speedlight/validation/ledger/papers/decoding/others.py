"""Fewer layers, fewer steps, fewer samples: DeeR-VLA, learnt schedulers for diffusion, best-of-N stopped early.

Each changes how often the same network runs: layers for a token, steps for a picture, sequences for an answer.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

SHARES = (0.125, 0.25)


@derives("deer-vla#1")
def compute(bench: Bench) -> Finding:
    """FLOPs of the language model before over after."""
    spans = []
    for model in bench.unstated("model", ("mpt-7b",), "a multimodal model on an LLM of a few billion parameters"):
        question: dict[str, Any] = {"phase": "prefill", "batch": 1, "isl": 64}
        whole = bench.ask(model, "rtx-4090", **question)
        for share in bench.unstated("expected share of the layers that runs", SHARES):
            left = bench.ask(model, "rtx-4090", [f"layer-skipping:keep={bench.size(share)}"], **question)
            spans.append(exactly(float(whole.flops) / float(left.flops)))
    return over(spans, "layers behind the mean exit are not run; the vocabulary's projection is")


@derives("deer-vla#2")
def memory(bench: Bench) -> Finding:
    """Weights of the language model before over after, under a cap on the exit."""
    spans = []
    for model in bench.unstated("model", ("mpt-7b",), "a multimodal model on an LLM of a few billion parameters"):
        question: dict[str, Any] = {"phase": "prefill", "batch": 1, "isl": 64}
        whole = bench.memory(bench.ask(model, "rtx-4090", **question), "weights").value
        for share in bench.unstated("share of the layers before the last exit", (0.16, 0.5)):
            left = bench.ask(model, "rtx-4090", [f"layer-skipping:keep={bench.size(share)}"], **question)
            spans.append(exactly(whole / bench.memory(left, "weights").value))
    return over(spans, "layers behind the last admissible exit are not held")


@derives("optimal-linear-subspace-search#1")
def picture(bench: Bench) -> Finding:
    """Seconds of a picture."""
    bench.stated(model="sd-1.5", batch=1)
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-40gb", "a100-sxm-80gb"), "the source says A100"):
        for steps in bench.unstated("steps", (5, 10, 20)):
            for dtype in bench.unstated("dtype", ("fp16", "fp32")):
                spans.append(
                    bench.time(bench.ask("sd-1.5", machine, phase="generate", batch=1, steps=steps, dtype=dtype))
                )
    return over(
        spans,
        "text encoder, so many guided steps, and the decoder; what a scheduler computes is nothing beside them",
        more=False,
    )


def _samples(bench: Bench) -> list[tuple[int, float, Any]]:
    found = []
    for n in bench.unstated("samples", (10, 20)):
        for until in bench.unstated("share of the length after which one is left", (0.03, 0.1)):
            found.append((n, until, {"phase": "decode", "batch": 1}))
    return found


@derives("sampling-efficient-test-time-scaling#1")
def dynamic_memory(bench: Bench) -> Finding:
    """Bytes of caches at the fullest moment."""
    spans = []
    bench.given("output", 2048, "assumed", "reasoning of some thousand tokens")
    for model in bench.unstated("model", ("llama-3.1-8b", "qwen2.5-7b")):
        for n, until, question in _samples(bench):

            def kept(samples: int, tokens: float, q: Any = question, m: str = model) -> float:
                answer = bench.ask(m, "a100-sxm-80gb", **{**q, "batch": samples, "context": max(round(tokens), 1)})
                return bench.memory(answer, "kv").value

            fullest = max(kept(n, bench.size(2048 * until)), kept(1, 2048))
            spans.append(exactly((1 - fullest / kept(n, 2048)) * 100))
    return over(spans, "N caches of a few tokens, then one that grows, against N that grow to the end")


@derives("sampling-efficient-test-time-scaling#2")
def latency(bench: Bench) -> Finding:
    """Time of an answer saved."""
    spans: list[Span] = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "rtx-4090")):
        for n, until, question in _samples(bench):
            for context in bench.unstated("context", (1024, 4096), "half-way through answers of 2 K and 8 K tokens"):
                sizes = {**question, "context": context}
                full = bench.ask("llama-3.1-8b", machine, [f"best-of-n:samples={n},until=1.0"], **sizes)
                early = bench.ask("llama-3.1-8b", machine, [f"best-of-n:samples={n},until={until}"], **sizes)
                spans.append(bench.speedup(full, early).mapped(lambda x: (1 - 1 / x) * 100))
    return over(
        spans,
        "steps of one sequence for steps of N: both read the weights, so little is saved while N sequences are few. What is left: scoring N "
        "answers, and frameworks whose steps slow down with the batch",
    )
