"""Context parallelism for million-token prompts: keys and values go round a ring of 16 boxes, under attention.

A prompt of 1M tokens of Llama-3.1-405B is 4.94e18 FLOPs (causal attention's unmasked half and the layers' products), which 128 H100
could do in 39 s at the published peak. The cards of the machine (Grand Teton, 500 W, HBM2e) do not hold that peak in long products.
Whether feed-forward weights are 8-bit decides whether a box of eight holds the model at all; both are walked through.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

MODEL, BOXES = "llama-3.1-405b", 16


def _prompt(bench: Bench, tokens: int, boxes: int, weights: str, machine: str) -> Any:
    return bench.ask(
        MODEL, f"{machine}x{boxes}" if boxes > 1 else machine, phase="prefill", batch=1, isl=tokens, tp=8, cp=boxes, weights=weights,
        stack="vllm",
    )  # fmt: skip


def _walk(bench: Bench) -> list[tuple[str, str]]:
    bench.stated(model=MODEL, batch=1, cp=BOXES, tp=8)
    bench.given("stack", "vllm")
    return [
        (weights, machine)
        for weights in bench.unstated("weights", ("bf16", "fp8"), "bf16 as released, or 8-bit rows to fit a box")
        for machine in bench.unstated("machine", ("grand-teton-h100", "dgx-h100"), "H100, the box is not named")
    ]  # fmt: skip


@derives("context-parallelism-for-scalable-million-token-inference#1")
def million(bench: Bench) -> Finding:
    """Seconds of a prompt of a million tokens on 128 H100."""
    bench.given("isl", 1_000_000)
    spans = [bench.time(_prompt(bench, 1_000_000, BOXES, *how)) for how in _walk(bench)]
    return over(
        spans, "a prompt of 1,000,000 tokens over 16 boxes of eight, ring attention under computation", more=False
    )


@derives("context-parallelism-for-scalable-million-token-inference#4")
def short(bench: Bench) -> Finding:
    """Seconds of a prompt of 128K tokens on the same 128 H100."""
    bench.given("isl", 131_072)
    spans = [bench.time(_prompt(bench, 131_072, BOXES, *how)) for how in _walk(bench)]
    return over(
        spans, "a prompt of 131,072 tokens over 16 boxes of eight, ring attention under computation", more=False
    )


@derives("context-parallelism-for-scalable-million-token-inference#2")
def efficiency(bench: Bench) -> Finding:
    """Seconds on one box over 16 times those on 16 boxes, per cent."""
    bench.given("isl", 1_000_000)
    spans = []
    for weights, machine in _walk(bench):
        many, one = (_prompt(bench, 1_000_000, n, weights, machine) for n in (BOXES, 1))
        found = bench.speedup(one, many)
        # A box cannot do better than its share of the same work.
        spans.append(
            Span(*(min(100 * x / BOXES, 100.0) for x in (found.low, found.value, found.high)), bound=100.0)
        )  # fmt: skip
    return over(
        spans, "one box's seconds over 16 times those of 16; what is lost is messages that attention does not cover"
    )


@derives("context-parallelism-for-scalable-million-token-inference#3")
def utilisation(bench: Bench) -> Finding:
    """FLOPs of the prompt over 128 peaks and the seconds it takes, per cent. The claim's peak is a power-limited one near
    795 TFLOP/s, of which we know nothing but that it lies below the published 989."""
    bench.given("isl", 1_000_000)
    spans = []
    for weights, machine in _walk(bench):
        answer = _prompt(bench, 1_000_000, BOXES, weights, machine)
        peak = bench.machine(machine).engine.peak("matmul", "bf16", None)[0].flops
        time = bench.time(answer)
        share = 100 * float(answer.flops) / (BOXES * 8) / peak
        spans.append(Span(share / time.high, share / time.value, share / time.low, 100.0))
    return over(
        spans,
        "causal FLOPs of 1M tokens over the bf16 peak of 128 cards and our seconds; the source divides by a lower peak",
    )
