"""LongGen: full attention in a third of the layers, a window with sinks (or sparse blocks) in the others.

At 128 K tokens attention over everything is most of a pass's FLOPs and the cache most of a decode step's bytes; two layers in three
keep a window of either. What is left is the linear layers and the third that sees everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

CONTEXT = 131072
WHY = "attention in 2/3 of the layers over a window instead of 128 K tokens, everything else as it was"


def _settings(bench: Bench) -> Iterator[tuple[str, str, str]]:
    bench.given("context", CONTEXT)
    bench.given("full layers", "1/3")
    bench.given("stack", None, "assumed", "the usual one of each phase, for both sides alike")
    for model in bench.unstated("model", ("llama-2-7b", "llama-2-70b"), "the source names Llama-2 of 7B to 70B"):
        for machine in bench.unstated("machine", ("a100-sxm-80gb", "h100-sxm-80gb")):
            for window in bench.unstated("window", (4096, 8192), "the cache saved, 62 %, leaves no less"):
                yield model, machine, f"hybrid-window-layers:window={window}"


def _gain(bench: Bench, **question: Any) -> list[Span]:
    spans = []
    for model, machine, technique in _settings(bench):
        before = bench.ask(model, machine, **question)
        spans.append(bench.speedup(before, bench.ask(model, machine, [technique], **question)))
    return spans


def _training(bench: Bench) -> list[Span]:
    bench.given("batch", 1, "assumed", "one sequence; the ratio is that of a longer batch too")
    return _gain(bench, phase="train", batch=1, isl=CONTEXT)


@derives("a-little-goes-a-long-way#4")
def training(bench: Bench) -> Finding:
    """Step time of training at 128 K."""
    return over(_training(bench), WHY + "; how a sequence of 128 K is spread over devices is left out of the ratio")


@derives("a-little-goes-a-long-way#5")
def time_saved(bench: Bench) -> Finding:
    """The same as a share of the time."""
    spans = [span.mapped(lambda x: (1 - 1 / x) * 100) for span in _training(bench)]
    return over(spans, WHY + "; a share saved is 1 − 1/speed-up")


@derives("a-little-goes-a-long-way#6")
def cache(bench: Bench) -> Finding:
    """Bytes kept at 128 K."""
    bench.given("context", CONTEXT)
    spans = []
    for window in bench.unstated("window", (1024, 2048, 4096, 8192), "windows, sinks and blocks of usual sizes"):
        question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": CONTEXT}
        whole = bench.memory(bench.ask("llama-2-7b", "a100-sxm-80gb", **question), "kv").value
        partial = bench.ask(
            "llama-2-7b", "a100-sxm-80gb", [f"hybrid-window-layers:window={round(bench.size(window))}"], **question
        )
        spans.append(Span(*[(1 - bench.memory(partial, "kv").value / whole) * 100] * 4))
    return over(spans, "a window instead of 128 K tokens in 21 of 32 layers")


@derives("a-little-goes-a-long-way#7")
def prefill(bench: Bench) -> Finding:
    """Time of a prompt of 128 K."""
    bench.given("batch", 1, "assumed", "one prompt")
    return over(_gain(bench, phase="prefill", batch=1, isl=CONTEXT), WHY)


@derives("a-little-goes-a-long-way#8")
def decode(bench: Bench) -> Finding:
    """A decode step at 128 K."""
    bench.given("batch", 1, "assumed", "a longer batch reads as many more keys and gains more")
    return over(_gain(bench, phase="decode", batch=1, context=CONTEXT), WHY + "; the weights are read all the same")
