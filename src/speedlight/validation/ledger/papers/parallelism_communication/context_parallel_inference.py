"""Context parallelism for million-token prompts: keys and values go round a ring of 16 boxes, under attention.

A prompt of 1M tokens of Llama-3.1-405B is 4.94e18 FLOPs (causal attention's unmasked half and the layers' products), which 128 H100
could do in 39 s at the published peak. The utilisation it quotes is of a peak that a power limit lowers, so both the usual 700 W and
500 W are walked through; and so are 8-bit weights, without which a box of eight does not hold the model.
"""

from __future__ import annotations

from typing import Any

from .....engine.predict import predict
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

MODEL, MACHINE, BOXES = "llama-3.1-405b", "dgx-h100x16", 16


def _prompt(bench: Bench, tokens: int, weights: str, power: float) -> Any:
    return bench.ask(MODEL, MACHINE, **_setting(tokens, weights, power))


def _setting(tokens: int, weights: str, power: float) -> dict[str, Any]:
    return {
        "phase": "prefill",
        "batch": 1,
        "isl": tokens,
        "tp": 8,
        "cp": BOXES,
        "weights": weights,
        "stack": "vllm",
        "power": power,
    }


def _walk(bench: Bench) -> list[tuple[str, float]]:
    bench.stated(model=MODEL, machine=MACHINE, batch=1, cp=BOXES, tp=8)
    bench.given("stack", "vllm", "assumed", "an engine of its own")
    return [
        (weights, power)
        for weights in bench.unstated("weights", ("bf16", "fp8"), "bf16 as released, or 8-bit rows to fit a box")
        for power in bench.unstated("power", (500.0, 700.0), "the quoted peak is a power-limited one")
    ]  # fmt: skip


@derives("context-parallelism-for-scalable-million-token-inference#1")
def million(bench: Bench) -> Finding:
    """Seconds of a prompt of a million tokens on 128 H100."""
    bench.given("isl", 1_000_000)
    spans = [bench.time(_prompt(bench, 1_000_000, *how)) for how in _walk(bench)]
    return over(
        spans, "a prompt of 1,000,000 tokens over 16 boxes of eight, ring attention under computation", more=False
    )


@derives("context-parallelism-for-scalable-million-token-inference#4")
def short(bench: Bench) -> Finding:
    """Seconds of a prompt of 128K tokens on the same 128 H100."""
    bench.given("isl", 131_072)
    spans = [bench.time(_prompt(bench, 131_072, *how)) for how in _walk(bench)]
    return over(
        spans, "a prompt of 131,072 tokens over 16 boxes of eight, ring attention under computation", more=False
    )


@derives("context-parallelism-for-scalable-million-token-inference#2")
def efficiency(bench: Bench) -> Finding:
    """FLOPs a second of the whole prompt over those of its attention alone, per cent: what messages, norms and products cost."""
    bench.given("isl", 1_000_000)
    spans = []
    for how in _walk(bench):
        answer = predict(bench.question(MODEL, MACHINE, **_setting(1_000_000, *how)))
        attention = [op for op in answer.ops if op.kind == "attention"]
        alone = sum(op.flops for op in attention) / sum(op.time for op in attention)
        share = min(100 * sum(op.flops for op in answer.ops) / float(answer.time) / alone, 100.0)
        spans.append(Span(share, share, share, 100.0))
    return over(
        spans, "the rate of the whole prompt over that of its attention alone; ring messages hide under attention"
    )


@derives("context-parallelism-for-scalable-million-token-inference#3")
def utilisation(bench: Bench) -> Finding:
    """FLOPs of the prompt over 128 peaks and the seconds it takes, per cent. The claim's peak is a power-limited one near
    795 TFLOP/s, of which we know nothing but that it lies below the published 989."""
    bench.given("isl", 1_000_000)
    spans = []
    peak = bench.machine(MACHINE).engine.peak("matmul", "bf16", None)[0].flops
    for how in _walk(bench):
        answer = _prompt(bench, 1_000_000, *how)
        time = bench.time(answer)
        share = 100 * float(answer.flops) / (BOXES * 8) / peak
        spans.append(Span(share / time.high, share / time.value, share / time.low, 100.0))
    return over(
        spans,
        "causal FLOPs of 1M tokens over the bf16 peak of 128 cards and our seconds; the source divides by a lower peak",
    )
