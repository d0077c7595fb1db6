"""FlashAttention-2: what sets a fused kernel's rate.

A tile of scores costs its two products on the matrix unit, one exponential and some vector work an element. Where matrix
instructions are synchronous these take turns, so that with heads of d elements 4·d FLOPs of products go with one exponential: the
share of the peak follows from the machine's three rates and d. Version 1 left more: unfinished results went through memory for each
block of keys, and a head of a sequence was one thread block.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...bench import Bench
from ...finding import Finding, Span, over
from ...kernels import attention, faster, kernel, of_peak
from ...registry import derives

TOKENS = 16384  # over all sequences, as benchmarks of attention keep it; heads · width = 2048
ONE, TWO = "flash-attention-1-kernel", "flash-attention-2"


def _peak(bench: Bench, machine: str) -> float:
    peak, _ = bench.machine(machine).engine.peak("matmul", "fp16", None)
    return float(peak.flops)


def _shapes(bench: Bench, lengths: tuple[int, ...], masks: tuple[bool, ...] = (False, True)) -> Iterator[str]:
    bench.given("tokens and heads", f"{TOKENS} tokens, heads · width = 2048", "assumed", "a benchmark's usual sizes")
    for width in bench.unstated("head width", (64, 128)):
        for isl in bench.unstated("isl", lengths):
            for causal in bench.unstated("causal", masks):
                yield attention(TOKENS // isl, isl, 2048 // width, width, causal=causal)


def _shares(bench: Bench, technique: str, lengths: tuple[int, ...]) -> list[Span]:
    bench.given("machine", "a100-sxm-80gb")
    peak = _peak(bench, "a100-sxm-80gb")
    asked = (
        kernel(bench, "one attention", s, "a100-sxm-80gb", [technique], stack="ideal") for s in _shapes(bench, lengths)
    )
    return [of_peak(p, peak) for p in asked]


@derives("flashattention-2#1")
def first_over_unfused(bench: Bench) -> Finding:
    """Version 1 against attention call by call."""
    bench.given("machine", "a100-sxm-80gb", "assumed")
    spans = []
    for source in _shapes(bench, (512, 2048), (False,)):  # an encoder's; causal masks double it for kernels that skip
        before = kernel(bench, "one attention", source, "a100-sxm-80gb", ["written-out-attention"], stack="torch-eager")
        after = kernel(bench, "one attention", source, "a100-sxm-80gb", [ONE], stack="ideal")
        spans.append(faster(before, after, float(before.time) * _peak(bench, "a100-sxm-80gb") / float(after.flops)))
    return over(
        spans, "products, scale, softmax and copies each through memory, against version 1's kernel with its own passes"
    )


@derives("flashattention-2#2")
def first_of_peak(bench: Bench) -> Finding:
    """Version 1's share of the peak."""
    return over(
        _shares(bench, ONE, (512, 1024, 2048)),
        "queries and unfinished results pass through memory once a block of keys; products, vector work and exponentials take turns; a head of a sequence is one block",
    )


@derives("flashattention-2#3")
def second_over_first(bench: Bench) -> Finding:
    """Version 2 against version 1."""
    bench.given("machine", "a100-sxm-80gb", "assumed")
    spans = []
    for source in _shapes(bench, (1024, 2048, 4096)):
        before, after = (
            kernel(bench, "one attention", source, "a100-sxm-80gb", [t], stack="ideal") for t in (ONE, TWO)
        )
        spans.append(faster(before, after))
    return over(
        spans,
        "results stay on the chip, and tiles of queries are blocks of their own; what both leave unhidden is the same",
    )


@derives("flashattention-2#4")
def second_of_peak(bench: Bench) -> Finding:
    """Version 2's share of the peak."""
    return over(
        _shares(bench, TWO, (512, 2048, 8192)),
        "products, vector work and exponentials take turns: 57 % of the peak with heads of 64, 73 % with heads of 128",
    )


def _training(bench: Bench) -> list[Span]:
    """Share of the peak of GPT training steps on eight GPUs."""
    bench.given("machine", "a100-sxm-80gb")
    spans = []
    for model in bench.unstated("model", ("gpt3-xl", "gpt3-2.7b"), "GPT-style models that one GPU holds"):
        for isl in bench.unstated("isl", (2048, 8192)):
            for stack in bench.unstated("stack", ("megatron", "torch-eager")):
                batch = 8 * 32 * 2048 // isl
                answer = bench.ask(
                    model,
                    "a100-sxm-80gb",
                    phase="train",
                    batch=batch,
                    isl=isl,
                    dp=8,
                    zero=1,
                    micro_batch=4 * 2048 // isl,
                    dtype="bf16",
                    stack=stack,
                )
                mfu, time = float(answer.mfu) * 100, float(answer.time)
                spans.append(
                    Span(
                        mfu * time / float(answer.high),
                        mfu,
                        mfu * time / float(answer.low),
                        mfu * time / float(answer.limit),
                    )
                )
    return spans


@derives("flashattention-2#5")
def training_rate(bench: Bench) -> Finding:
    """TFLOP/s of each GPU."""
    peak = _peak(bench, "a100-sxm-80gb") / 1e12
    return over(
        [s.mapped(lambda x: x / 100 * peak) for s in _training(bench)],
        "training steps of GPT models on eight A100; the claim counts all pairs of attention, we the unmasked ones",
    )


@derives("flashattention-2#6")
def training_share(bench: Bench) -> Finding:
    """MFU."""
    return over(_training(bench), "as the rate, over 312 TFLOP/s")
