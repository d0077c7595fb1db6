"""Models of several sizes over one generation.

CoDe (visual autoregression, 10 scales of 1² to 16² positions): the large model makes the early scales, a small one the late ones, which
hold most positions. Nested transformers: sub-models of growing width over the steps of masked generation.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

SIDES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
LARGE, SMALL = 2.0e9, 0.31e9  # parameters of VAR-d30 and VAR-d16 (arXiv 2404.02905, Table 1)


def _late(scales: int) -> float:
    """Share of the positions in the last scales."""
    return sum(s * s for s in SIDES[-scales:]) / sum(s * s for s in SIDES)


def _speedup(bench: Bench, scales: int) -> float:
    share, ratio = _late(scales), bench.size(SMALL) / LARGE
    return 1 / (1 - share + share * ratio)


def _models(bench: Bench) -> None:
    bench.given("large and small model", (LARGE, SMALL), "published", "VAR, arXiv 2404.02905: depths 30 and 16")
    bench.given("scales", SIDES, "published", "VAR, arXiv 2404.02905: sides of the token maps at 256 × 256")


@derives("collaborative-decoding-makes-visual-auto-regressive-modeling#1")
def usual(bench: Bench) -> Finding:
    """FLOPs before over after, where half of the steps or more stay the large model's."""
    _models(bench)
    spans = [exactly(_speedup(bench, n)) for n in bench.unstated("scales of the small model", (1, 2))]
    return over(spans, "positions of the late scales at the small model's FLOPs; a full batch is bound by FLOPs")


@derives("collaborative-decoding-makes-visual-auto-regressive-modeling#4")
def fewer(bench: Bench) -> Finding:
    """The same with fewer steps of the large model."""
    _models(bench)
    spans = [exactly(_speedup(bench, n)) for n in bench.unstated("scales of the small model", (3, 4))]
    return over(spans, "positions of the late scales at the small model's FLOPs; a full batch is bound by FLOPs")


@derives("collaborative-decoding-makes-visual-auto-regressive-modeling#2")
def memory(bench: Bench) -> Finding:
    """Cache and weights saved: the late scales' keys are the small model's."""
    _models(bench)
    spans = []
    for scales in bench.unstated("scales of the small model", (2, 3)):
        for batch in bench.unstated("batch", (32, 64, 128)):
            tokens = sum(s * s for s in SIDES)
            kv = [
                4 * depth * 64 * depth * bench.size(2.0) / 2 for depth in (30, 16)
            ]  # 2 tensors, 64·depth wide, 16 bits
            early = (1 - _late(scales)) * tokens
            before = 2 * LARGE + 2 * batch * tokens * kv[0]
            after = 2 * (LARGE + SMALL) + 2 * batch * max(early * kv[0], tokens * kv[1])
            spans.append(exactly((1 - after / before) * 100))
    return over(spans, "with guidance two sequences a picture; the large model's keys of late scales are never made")


@derives("collaborative-decoding-makes-visual-auto-regressive-modeling#5")
def images(bench: Bench) -> Finding:
    """Pictures a second, by what a transformer of this size reaches on the card."""
    _models(bench)
    bench.stated(machine="rtx-4090")
    bench.given(
        "model",
        "gpt2-xl",
        "assumed",
        "1.5B parameters, as wide and deep as VAR-d30 nearly: its share of the card's peak",
    )
    spans = []
    for batch in bench.unstated("batch", (16, 64)):
        question: dict[str, Any] = {
            "phase": "forward",
            "batch": 2 * batch,
            "isl": 680,
            "stack": "torch-eager",
            "dtype": "fp16",
        }
        answer = bench.ask("gpt2-xl", "rtx-4090", **question)
        per_flop = [float(t) / float(answer.flops) for t in (answer.high, answer.time, answer.low, answer.limit)]
        for scales in bench.unstated("scales of the small model", (3, 4)):
            each = 2 * 2 * LARGE * 680 / _speedup(bench, scales)  # FLOPs of a picture and its unguided twin
            spans.append(Span(*(1 / (each * s) for s in per_flop)))
    return over(spans, "FLOPs of both models at a like transformer's seconds a FLOP; the picture's decoder is left out")


@derives("masked-generative-nested-transformers-with-decode-time-scali#1")
def nested(bench: Bench) -> Finding:
    """FLOPs before over after: steps at growing widths."""
    spans = []
    for sizes in bench.unstated(
        "sub-models' FLOPs over the whole's, over equal parts of the steps",
        ((0.125, 0.25, 0.5, 1.0), (0.125, 0.25, 0.5)),
    ):
        for cached in bench.unstated("positions whose features are kept from the step before", (0.0, 0.4)):
            spans.append(exactly(bench.size(1.0) / (sum(sizes) / len(sizes) * (1 - cached))))
    return over(spans, "each step at its sub-model's FLOPs, over positions that are not cached")
