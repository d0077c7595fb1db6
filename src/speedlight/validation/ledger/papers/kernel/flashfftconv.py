"""FlashFFTConv: transforms as products, and everything between them in the same kernel.

In PyTorch a long convolution is a cast, a padded copy, a transform, a product with the filter's, a transform back and a cast, each
through memory in 32-bit numbers; a fused kernel reads and writes 16-bit numbers once. Its transforms cost 8·p·n^(1/p) operations a
point instead of 5·log2 n, on a unit twenty times as fast; the order p grows with the length.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...kernels import faster, kernel, ops
from ...registry import derives

FASTEST = "fft-on-matrix-units:order="


def convolution(tokens: int, rows: int) -> list[tuple[str, dict[str, object]]]:
    """PyTorch's calls: to fp32, padded to twice the length, there, times the filter's transform, and back."""
    every = rows * tokens
    return [
        ("elementwise", {"elements": every, "dtype": "fp32"}),
        ("elementwise", {"elements": 2 * every, "dtype": "fp32", "x": "op0.out"}),
        ("fft", {"n": 2 * tokens, "batch": rows, "real": "yes", "x": "op1.out"}),
        ("elementwise", {"elements": every, "flops": 6, "dtype": "complex64", "x": "op2.out"}),
        ("fft", {"n": 2 * tokens, "batch": rows, "real": "yes", "x": "op3.out"}),
        ("elementwise", {"elements": every, "dtype": "fp16", "x": "op4.out"}),
    ]


def order_of(tokens: int) -> int:
    """Steps of the decomposition: sides of 16 to 64."""
    return 2 if tokens <= 2048 else 3 if tokens <= 131072 else 4


def _gain(bench: Bench, machine: str, tokens: int, sequences: int, channels: int) -> Span:
    source = ops(*convolution(int(bench.size(tokens)), sequences * channels))
    before = kernel(bench, "one long convolution", source, machine, stack="torch-eager")
    after = kernel(bench, "one long convolution", source, machine, [f"{FASTEST}{order_of(tokens)}"], stack="ideal")
    return faster(before, after, float(before.bytes / after.bytes))  # memory binds both at best


@derives("flashfftconv#1", "simple-hardware-efficient-long-convolutions-for-sequence-mod#1")
def alone(bench: Bench) -> Finding:
    """One convolution, PyTorch against one kernel."""
    spans = [
        _gain(bench, machine, tokens, 64, 768)
        for machine in bench.unstated("machine", ("a100-sxm-40gb", "h100-sxm-80gb"))
        for tokens in bench.unstated("tokens", (2048, 8192, 32768))
    ]
    return over(
        spans,
        "all passes through memory against one; at both ends kernels that reach what their unit and memory can, which fused ones of many steps do not",
    )


@derives("flashfftconv#2")
def whole(bench: Bench) -> Finding:
    """A layer: projections and feed-forward as products, and the convolution."""
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-40gb", "h100-sxm-80gb")):
        for width in bench.unstated("width", (128, 256, 768), "of models with long convolutions"):
            for tokens in bench.unstated("tokens", (8192, 131072)):
                rows = 8 * width
                source = ops(*convolution(tokens, rows))
                about = "a layer with a long convolution"
                before = float(kernel(bench, about, source, machine, stack="torch-eager").time)
                after = kernel(bench, about, source, machine, [f"{FASTEST}{order_of(tokens)}"], stack="ideal")
                for products in bench.unstated(
                    "products a token over width²", (4, 12), "projections alone, or a feed-forward too"
                ):
                    layer = ops(("gemm", {"m": 8 * tokens, "n": products * width, "k": width}))
                    rest = float(kernel(bench, about, layer, machine, stack="torch-eager").time)
                    ratio = (rest + before) / (rest + float(after.time))
                    spans.append(Span(ratio, ratio, ratio, (rest + before) / (rest + float(after.limit))))
    return over(
        spans, "products of the layer stay as they are (Amdahl); the narrower the model the more the convolution counts"
    )
