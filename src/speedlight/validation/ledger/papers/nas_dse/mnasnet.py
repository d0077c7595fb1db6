"""MnasNet: architectures searched with latency measured on a phone; work is spent where a phone's cores are fast."""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ..model_architecture.images import one_core, ratio

CORE = (6e9, 10e9)  # bytes a second that one core of a phone draws
ONE: dict[str, Any] = {"phase": "forward", "batch": 1, "dtype": "fp32"}


@derives("mnasnet#2")
def latency(bench: Bench) -> Finding:
    """One image on one fast core, as such tables are taken."""
    bench.given("model", "semnasnet_100")
    bench.stated(machine="pixel-1")
    spans = []
    for stack in bench.unstated("stack", ("onnxruntime",), "an engine that folds norms, as TFLite does"):
        for read in bench.unstated("bytes a second of one core", CORE):
            answer = bench.ask(
                "semnasnet_100", "pixel-1", overrides=one_core(bench, "pixel-1", read), stack=stack, **ONE
            )
            spans.append(bench.time(answer).mapped(lambda s: s * 1e3))
    return over(spans, "one image on one core, its peak assumed", more=False)


@derives("mnasnet#3")
def mobilenet(bench: Bench) -> Finding:
    """MobileNetV2 of the width that comes within half a point of its accuracy."""
    bench.given("model", "semnasnet_100")
    spans: list[Span] = []
    for machine in bench.unstated(
        "machine", ("pixel-1", "galaxy-s8"), "phones of its years; a Pixel is named for the latency"
    ):
        for stack in bench.unstated("stack", ("onnxruntime",), "an engine that folds norms, as TFLite does"):
            for threads in bench.unstated("threads", ("one", "all")):
                own = one_core(bench, machine, 8e9) if threads == "one" else {}
                spans.append(
                    ratio(bench, "mobilenetv2_140", "semnasnet_100", machine, stack=stack, overrides=own, **ONE)
                )
    return over(spans, "one image with MobileNetV2 of 1.4 times the width over MnasNet-A1")
