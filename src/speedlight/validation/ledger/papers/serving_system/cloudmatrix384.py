"""CloudMatrix384: DeepSeek-R1 over hundreds of dies on one bus, an expert or so a die.

Prefill multiplies; decode streams experts and latent keys and values and exchanges tokens twice a layer. Its expert parallelism of 320
counts copies of busy experts, ours deals 256 experts to 256 devices; a token a step comes on top with its draft head.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

FORMATS: dict[str, Any] = {"weights": "int8", "activations": "int8"}
BATCHES = (2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)


@derives("serving-large-language-models-on-huawei-cloudmatrix384#1")
def prefill(bench: Bench) -> Finding:
    """Tokens a second and device of a prompt step."""
    bench.stated(model="deepseek-r1", machine="cloudmatrix384", **FORMATS)
    spans = []
    for isl in bench.unstated("isl", (2048, 4096)):
        for ep in bench.unstated("ep", (16, 32), "a prefill instance is a part of the machine"):
            asked = bench.ask(
                "deepseek-r1", "cloudmatrix384", phase="prefill", batch=16384 // isl, isl=isl, ep=ep, dp=ep, **FORMATS
            )
            spans.append(bench.rate(asked, "device"))
    return over(spans, "a prefill step of 16k tokens a device in int8 over the bus; the card's figures are analysts'")


def _decode(bench: Bench, bound: float) -> Finding:
    bench.stated(model="deepseek-r1", machine="cloudmatrix384", **FORMATS)
    bench.given("time per output token (s)", bound)
    spans = []
    for context in bench.unstated("context", (2048, 4096)):
        for tokens in bench.unstated(
            "tokens a step", (1.0, 1.7), "without its draft head, and with one draft kept seven times of ten"
        ):
            rates = _largest(bench, bound * tokens, context, tokens)
            if rates[1] > 0.0:
                spans.append(Span(rates[0] or rates[1] / 3.0, rates[1], rates[2], rates[3]))
    return over(
        spans, "the largest batch whose decode step keeps the bound, one expert a device; a drafted token is verified as a second "
        "sequence of half the context; kernels of a card nobody measured here may take three times as long",
    )  # fmt: skip


def _largest(bench: Bench, bound: float, context: int, tokens: float) -> list[float]:
    """Tokens a second and device within a bound on the step: by the interval's high end, the time, its low end, the limit."""
    rows = 2 if tokens > 1.0 else 1
    steps = [
        (
            b,
            bench.ask(
                "deepseek-r1",
                "cloudmatrix384",
                phase="decode",
                batch=b * rows,
                context=context / rows,
                ep=256,
                dp=256,
                **FORMATS,
            ),
        )
        for b in BATCHES
    ]
    return [
        max((tokens * b / float(getattr(s, end)) for b, s in steps if getattr(s, end) <= bound), default=0.0)
        for end in ("high", "time", "low", "limit")
    ]


@derives("serving-large-language-models-on-huawei-cloudmatrix384#2")
def decode_50(bench: Bench) -> Finding:
    """Within 50 ms a token."""
    return _decode(bench, 0.050)


@derives("serving-large-language-models-on-huawei-cloudmatrix384#3")
def decode_15(bench: Bench) -> Finding:
    """Within 15 ms a token."""
    return _decode(bench, 0.015)
