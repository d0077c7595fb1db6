"""LinkNet: a ResNet-18 encoder whose stages are added to a thin decoder's, so nothing is concatenated."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives
from .images import products, summed


@derives("linknet#1")
def parameters(bench: Bench) -> Finding:
    bench.stated(model="linknet")
    return over([exactly(float(bench.facts("linknet")["params"]))], "weights of the published layers", more=False)


@derives("linknet#2")
def work(bench: Bench) -> Finding:
    """Products of one image; libraries count a transposed convolution at its input or at its output."""
    bench.stated(model="linknet", height=360, width=640)
    found = bench.size(products("linknet"))
    again = bench.size(
        summed("linknet", lambda block, op: op.flops("matmul") * 3 if op.attrs.get("transposed") else None)
    )
    spans = [
        exactly((found + extra) / 1e9)
        for extra in bench.unstated("transposed convolutions counted at", (0.0, again), "input or output: so much more")
    ]
    return over(spans, "two FLOPs a multiply-add, 640 × 360 pixels", more=False)
