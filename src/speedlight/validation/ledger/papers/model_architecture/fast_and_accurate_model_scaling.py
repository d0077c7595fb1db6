"""Fast and accurate model scaling: FLOPs grow with the square of the width, activations with the width.

What sets the time on machines bound by memory is how many numbers convolutions write. Depth and resolution make them grow with
the FLOPs, width only with their root.
"""

from __future__ import annotations

from collections.abc import Sequence

from .....frontends.source import load_graph
from .....graph.rewrite import rewrite
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from .images import outputs, products, ratio

COMPOUND = (
    "efficientnet_b0",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b5",
)  # width, depth and resolution at once
SIDES = (224, 288)  # of ResNet-50, by resolution alone
WIDTHS = ("mobilenetv2_050", "mobilenetv2_075", "mobilenetv2_100", "mobilenetv2_140")


def _slope(bench: Bench, networks: Sequence[tuple[float, float]]) -> Span:
    """The exponent over (FLOPs, activations) of networks."""
    found = bench.slope([f for f, _ in networks], [a for _, a in networks])
    return Span(found.value, found.value, found.value)


@derives("fast-and-accurate-model-scaling#1")
def popular(bench: Bench) -> Finding:
    """The exponent of activations in FLOPs over a family scaled in all three ways at once, and over sizes of image."""
    bench.given("networks", [*COMPOUND, "resnet50 at 224 and 288 pixels"], "unstated", "the best known ways of scaling")
    sides = [load_graph("resnet50", (f"1x3x{side}x{side}",)) for side in SIDES]
    families = [[(products(n), outputs(n)) for n in COMPOUND], [(products(g), outputs(g)) for g in sides]]
    return over(
        [_slope(bench, f) for f in families],
        "elements written by convolutions against FLOPs: 5/6 where all three grow, 1 by resolution or depth alone",
    )


@derives("fast-and-accurate-model-scaling#2")
def fast(bench: Bench) -> Finding:
    """The same where the width grows: a half where it alone does."""
    bench.given(
        "networks",
        ["efficientnet_b0 with wider channels", "MobileNetV2 of four widths"],
        "unstated",
        "scaled mostly by width",
    )
    wider = [
        rewrite(load_graph("efficientnet_b0"), "fewer_channels", {"share": flops**0.5})
        for flops in (1.0, 2.0, 4.0, 8.0)
    ]
    families = [[(products(g), outputs(g)) for g in wider], [(products(n), outputs(n)) for n in WIDTHS]]
    return over(
        [_slope(bench, f) for f in families],
        "elements written by convolutions against FLOPs over widths; stems and rounded channels bend it a little",
    )


@derives("fast-and-accurate-model-scaling#3")
def faster(bench: Bench) -> Finding:
    """Of two networks of equal FLOPs the wide one is faster than the deep one."""
    spans = []
    for machine in bench.unstated("machine", ("v100-sxm2-32gb", "a100-sxm-80gb"), "GPUs of the years before"):
        for dtype in bench.unstated("dtype", ("amp", "fp32")):
            spans.append(
                ratio(
                    bench,
                    "resnet152",
                    "wide_resnet50_2",
                    machine,
                    phase="forward",
                    batch=128,
                    dtype=dtype,
                    stack="torch-eager",
                )
            )
    return over(
        spans,
        "ResNet-152 over Wide-ResNet-50-2, 11.5 and 11.4 GFLOP multiply-adds an image: seconds of one over the other's",
    )
