"""BASS: speculative decoding of a batch, each sequence with its own accepted length.

One pass over the weights serves batch × drafted tokens. What a call yields is the mean accepted length of every sequence; a mean over
sequences of times a token is not what divides the batch into tokens a second (8 over 5.8 ms is 1379, 1.1 K is stated).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....._foundation.errors import BadInput
from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

MODEL = "llama-3.1-8b"


def _settings(bench: Bench, batch: int = 8) -> Iterator[tuple[Prediction, Prediction]]:
    """(regular, speculative) decode steps."""
    bench.stated(batch=batch)
    bench.given("model", MODEL, "assumed", "8.0B parameters in place of 7.8B")
    bench.given("stack", "vllm", "assumed", "optimised kernels and captured steps, on both sides")
    for machine in bench.unstated("machine", ("a100-sxm-40gb", "a100-sxm-80gb"), "the source says A100"):
        question: dict[str, Any] = {"phase": "decode", "batch": batch, "context": 512, "stack": "vllm"}
        bench.given("context", 512, "assumed", "code completion; keys are few beside 16 GB of weights")
        regular = bench.ask(MODEL, machine, **question)
        for drafts in bench.unstated("draft length", (5, 7)):
            for acceptance in bench.unstated("acceptance", (0.75, 0.85), "code is predictable"):
                label = f"speculative-decoding:size=0.05,drafts={drafts},acceptance={acceptance}"
                bench.given("draft", "a model of 1/20 of the layers", "assumed", "a few hundred million parameters")
                yield regular, bench.ask(MODEL, machine, [label], **question)


WHY = "drafts by a small model, verification of all of them in one pass over the weights"


@derives("bass#1")
def latency(bench: Bench) -> Finding:
    """Milliseconds a token of each sequence."""
    spans = [bench.time(after).mapped(lambda x: x * 1e3) for _, after in _settings(bench)]
    return over(spans, WHY, more=False)


@derives("bass#2")
def throughput(bench: Bench) -> Finding:
    """Tokens a second of the batch."""
    return over(
        [bench.rate(after) for _, after in _settings(bench)], WHY + "; sequences that end early leave room unused"
    )


@derives("bass#3")
def speedup(bench: Bench) -> Finding:
    """Against regular decoding of the same batch."""
    return over([bench.speedup(before, after) for before, after in _settings(bench)], WHY)


def _utilisation(answer: Prediction) -> Span:
    """Matrix FLOPs over the dense peak, in percent."""
    if answer.mfu is None:
        raise BadInput("no matrix product in a decode step", expected="a model that has some")
    mfu, time = 100 * float(answer.mfu), float(answer.time)
    return Span(mfu * time / float(answer.high), mfu, mfu * time / float(answer.low), mfu * time / float(answer.limit))


@derives("bass#6")
def utilisation(bench: Bench) -> Finding:
    """FLOPs over peak at the largest batch that pays."""
    spans = []
    for batch in bench.unstated("batch of the peak", (8, 16)):
        spans += [_utilisation(after) for _, after in _settings(bench, batch)]
    return over(spans, WHY + "; drafted tokens that are refused count as work")


@derives("bass#7")
def over_regular(bench: Bench) -> Finding:
    """FLOPs over peak against regular decoding at the same batch."""
    spans = []
    for before, after in _settings(bench):
        one, both = _utilisation(before), _utilisation(after)
        spans.append(Span(both.low / one.high, both.value / one.value, both.high / one.low))
    return over(spans, WHY + ": a pass of k + 1 tokens a sequence takes little longer than one")


@derives("bass#8")
def over_single(bench: Bench) -> Finding:
    """FLOPs over peak against speculation of a single sequence."""
    spans = []
    for batch in bench.unstated("batch of the peak", (8, 16)):
        for (_, many), (_, one) in zip(_settings(bench, batch), _settings(bench, 1), strict=True):
            a, b = _utilisation(many), _utilisation(one)
            spans.append(Span(a.low / b.high, a.value / b.value, a.high / b.low))
    return over(spans, "a pass over the weights serves so many more tokens")
