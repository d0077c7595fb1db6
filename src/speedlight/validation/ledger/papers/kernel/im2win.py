"""Im2win: windows of a row share their columns.

Lowered to columns an image is copied kernel_h · kernel_w times over (less where strides skip), lowered to rows of windows kernel_h times:
how much of a layer's memory that saves depends on the filter's width, and on what images and filters are beside it.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...kernels import kernel, ops
from ...registry import derives

# (channels, side, filters, kernel, stride) of ordinary networks' layers.
LAYERS = ((64, 56, 64, 3, 1), (128, 28, 128, 3, 1), (3, 224, 64, 7, 2), (512, 14, 512, 3, 1))


@derives("im2win#1")
def footprint(bench: Bench) -> Finding:
    """Bytes of a convolution with either lowering."""
    spans = []
    for machine in bench.unstated("machine", ("rtx-3090",), "of no account to bytes"):
        for channels, side, filters, width, stride in bench.unstated(
            "layer", LAYERS, "twelve benchmarks whose shapes are not stated"
        ):
            given = {"batch": 32, "channels": channels, "height": side, "width": side, "filters": filters, "kernel_h": width,
                     "stride_h": stride, "pad_h": width // 2}  # fmt: skip
            source = ops(("conv2d", given), dtype="fp32")
            sizes = []
            for technique in ("im2col-convolution", "im2win-convolution"):
                answer = kernel(bench, "one convolution", source, machine, [technique], stack="ideal")
                sizes.append(bench.memory(answer, "weights", "activations", "workspace").value)
            spans.append(exactly(bench.size(100 * (1 - sizes[1] / sizes[0]))))
    return over(
        spans,
        "image, filters, result and lowered image; the claim is over a library that lowers images one by one, whose scratch is smaller",
    )
