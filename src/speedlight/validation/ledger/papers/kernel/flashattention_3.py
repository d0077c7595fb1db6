"""FlashAttention-3: overlap, and the matrix instructions of the machine's own generation.

On H100 exponentials are half as slow as the products of heads of 128 elements, and older matrix instructions reach two thirds of the
peak: FlashAttention-2's kernel adds all of that up. With products asynchronous and softmax of one tile under the products of another
the longer of both sets the time.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...bench import Bench
from ...finding import Finding, Span, over
from ...kernels import attention, faster, kernel, of_peak
from ...registry import derives
from .flashattention_2 import TOKENS, TWO, _peak

H100 = "h100-sxm-80gb"
THREE = "flash-attention-3"


def _shapes(bench: Bench, widths: tuple[int, ...], lengths: tuple[int, ...], dtype: str = "fp16") -> Iterator[str]:
    bench.given("machine", H100)
    bench.given("tokens and heads", f"{TOKENS} tokens, heads · width = 2048", "assumed", "a benchmark's usual sizes")
    for width in bench.unstated("head width", widths):
        for isl in bench.unstated("isl", lengths):
            for causal in bench.unstated("causal", (False, True)):
                yield attention(TOKENS // isl, isl, 2048 // width, width, causal=causal, dtype=dtype)


@derives("flashattention-3#1")
def second_of_peak(bench: Bench) -> Finding:
    """FlashAttention-2's share of H100's peak."""
    peak = _peak(bench, H100)
    asked = [
        kernel(bench, "one attention", s, H100, [TWO], stack="torch-eager")
        for s in _shapes(bench, (64, 128), (512, 2048, 8192))
    ]
    return over(
        [of_peak(p, peak) for p in asked],
        "older matrix instructions at two thirds of the peak, then vector work and exponentials in turn",
    )


@derives("flashattention-3#2")
def over_second(bench: Bench) -> Finding:
    """Version 3 against version 2: the measured kernels of serving engines, and full overlap as the other end."""
    spans = []
    for source in _shapes(bench, (64, 128), (4096, 16384)):
        before, after = (kernel(bench, "one attention", source, H100, [t], stack="ideal") for t in (TWO, THREE))
        spans.append(faster(before, after))
        if '"causal": "yes"' in source:
            spans.append(faster(before, kernel(bench, "one attention", source, H100, stack="vllm")))
    return over(
        spans,
        "from nothing beside the products and two thirds of their rate, to all of it; causal ones also as measured in serving engines",
    )


def _rates(bench: Bench, dtype: str, widths: tuple[int, ...]) -> list[Span]:
    """FLOP/s with full overlap, and of the measured kernels."""
    spans = []
    for source in _shapes(bench, widths, (4096, 16384), dtype):
        whole = kernel(bench, "one attention", source, H100, [THREE], stack="ideal")
        found = [float(whole.flops / whole.time)]
        if '"causal": "yes"' in source:
            measured = kernel(bench, "one attention", source, H100, stack="vllm")
            found.append(float(measured.flops / measured.time))
        bound = float(whole.flops / whole.limit)
        spans += [Span(x, x, x, bound) for x in found]
    return spans


@derives("flashattention-3#3")
def half_rate(bench: Bench) -> Finding:
    """TFLOP/s in FP16."""
    return over(
        [s.mapped(lambda x: x / 1e12) for s in _rates(bench, "fp16", (128,))],
        "from the measured kernels of serving engines to softmax wholly hidden under the products",
    )


@derives("flashattention-3#4")
def half_share(bench: Bench) -> Finding:
    """The same over the peak."""
    peak = _peak(bench, H100)
    return over(
        [s.mapped(lambda x: 100 * x / peak) for s in _rates(bench, "fp16", (128,))], "as the rate, over 989 TFLOP/s"
    )


@derives("flashattention-3#5")
def eight_bit_rate(bench: Bench) -> Finding:
    """TFLOP/s in FP8."""
    return over(
        [s.mapped(lambda x: x / 1e12) for s in _rates(bench, "fp8", (128, 256))],
        "products twice as fast: with heads of 128 elements exponentials take as long as they do, with 256 half of it",
    )
