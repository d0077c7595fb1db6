"""InceptionNeXt: a 7 × 7 depthwise convolution split into a small square, two bands and what passes by.

FLOPs of ConvNeXt-T and ResNet-50 are within a tenth of each other, their images a second are not: depthwise kernels and
feature-wise products in fp32 take the time.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from .images import ratio


def _trained(bench: Bench, before: str, after: str) -> list[Span]:
    bench.stated(phase="train")
    bench.given("machine", "a100", "published")
    spans = []
    for tf32 in bench.unstated("tf32", ("off", "on"), "full precision: whether TF32 multiplies is not said"):
        for batch in bench.unstated("batch", (128,), "what such models are timed at"):
            spans.append(ratio(
                bench, before, after, "a100-sxm-80gb", phase="train", batch=batch, dtype="fp32", stack="torch-eager", optimizer="adamw", tf32=tf32,
            ))  # fmt: skip
    return spans


@derives("inceptionnext#1")
def convnext(bench: Bench) -> Finding:
    return over(
        _trained(bench, "resnet50", "convnext_tiny"), "images a second of a training step, ConvNeXt-T over ResNet-50"
    )


@derives("inceptionnext#2")
def inception(bench: Bench) -> Finding:
    return over(
        _trained(bench, "convnext_tiny", "inception_next_tiny"),
        "images a second of a training step, InceptionNeXt-T over ConvNeXt-T",
    )
