"""Dovetail: the draft on a small GPU, the model on the host's processor.

A pass of the model on a processor is its weights over the memory's bandwidth, whether it verifies one token or several; drafts take a
few milliseconds each on the card. Tokens cross the link, which is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .....techniques.speculation import kept
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

MODEL = "llama-2-7b"
PROCESSORS = ("i9-10940x", "i7-12700h")


def _passes(bench: Bench, draft: str) -> Iterator[tuple[Span, Span]]:
    """(tokens a second with drafts, that over the processor alone)."""
    bench.stated(model=MODEL, batch=1)
    bench.given("dtype", "bf16", "assumed", "weights as published")
    bench.given("context", 256, "assumed", "HumanEval's problems are short")
    bench.given("device", "rtx-2080-ti", "assumed", "a card of which 3 to 7 GB are used")
    for machine in bench.unstated("processor", PROCESSORS, "host processors of desktops"):
        question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": 256, "dtype": "bf16"}
        alone = bench.ask(MODEL, machine, **question)
        small = bench.ask(draft, "rtx-2080-ti", phase="decode", batch=1, context=256, dtype="fp16", stack="torch-eager")
        for drafts in bench.unstated("draft length", (4, 8)):
            verify = bench.ask(MODEL, machine, **question, new=drafts + 1)
            slower = bench.speedup(alone, verify)  # errors of the two passes are mostly the same
            drafting = drafts * float(small.time) / float(alone.time)
            for acceptance in bench.unstated("acceptance", (0.6, 0.8)):
                tokens = float(kept(acceptance, drafts))
                gain = slower.mapped(_gain(tokens, drafting))
                ends = [tokens / (float(v) + drafts * float(d)) for v, d in zip(
                    (verify.high, verify.time, verify.low, verify.limit), (small.high, small.time, small.low, small.limit), strict=True
                )]  # fmt: skip
                yield Span(ends[0], ends[1], ends[2], ends[3]), gain


def _gain(tokens: float, drafting: float) -> Callable[[float], float]:
    """From a pass alone over a verification to tokens a second with drafts over without."""
    return lambda ratio: tokens / (1 / ratio + drafting)


WHY = "weights of the model once a verification from host memory, drafts on the card in between"


@derives("dovetail#1")
def small(bench: Bench) -> Finding:
    """Tokens a second with a draft that fits 3 GB."""
    bench.given("draft", "tinyllama-1.1b", "assumed", "2.2 GB in 16 bits")
    return over([rate for rate, _ in _passes(bench, "tinyllama-1.1b")], WHY)


@derives("dovetail#3")
def large(bench: Bench) -> Finding:
    """Tokens a second with a draft that fits 7 GB."""
    bench.given("draft", "llama-3.2-3b", "assumed", "6.4 GB in 16 bits")
    return over([rate for rate, _ in _passes(bench, "llama-3.2-3b")], WHY)


@derives("dovetail#2")
def speedup(bench: Bench) -> Finding:
    """Against the processor alone."""
    bench.given("draft", "tinyllama-1.1b", "assumed", "2.2 GB in 16 bits")
    return over([gain for _, gain in _passes(bench, "tinyllama-1.1b")], WHY)
