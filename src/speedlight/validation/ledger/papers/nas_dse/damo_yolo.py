"""DAMO-YOLO: a backbone searched under a latency limit, a re-parameterised neck, a head of one convolution.

The three detectors are written out from the published structures, branches merged as they are deployed.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


def _latency(bench: Bench, name: str) -> Finding:
    bench.stated(model=f"damo-yolo-{name}", machine="t4")
    spans = []
    for stack in bench.unstated("stack", ("tensorrt", "torch-eager"), "an inference engine or the framework itself"):
        for dtype in bench.unstated("dtype", ("fp16",), "16 bits for real time"):
            answer = bench.ask(f"damo-yolo-{name}", "t4", phase="forward", batch=1, dtype=dtype, stack=stack)
            spans.append(bench.time(answer).mapped(lambda s: s * 1e3))
    return over(
        spans, "one image of 640 pixels up to the head's maps; picking and suppressing boxes is left out", more=False
    )


@derives("damo-yolo#4")
def tiny(bench: Bench) -> Finding:
    return _latency(bench, "t")


@derives("damo-yolo#5")
def small(bench: Bench) -> Finding:
    return _latency(bench, "s")


@derives("damo-yolo#6")
def medium(bench: Bench) -> Finding:
    return _latency(bench, "m")
