"""FastViT: skips and branches of training folded into one convolution when deployed.

On a phone's accelerator a network's time is its kernels' launches and reads; networks are paired by the accuracy their authors
state.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives
from .images import ratio


def _phone(bench: Bench, pairs: tuple[tuple[str, str], ...]) -> Finding:
    spans = []
    for before, after in bench.unstated("networks", pairs, "members of as much accuracy on ImageNet"):
        for dtype in bench.unstated("dtype", ("fp32", "fp16")):
            spans.append(
                ratio(
                    bench,
                    before,
                    after,
                    "iphone-13",
                    with_=("reparameterized",),
                    phase="forward",
                    batch=1,
                    dtype=dtype,
                    stack="onnxruntime",
                )
            )
    return over(spans, "one image on a phone, every op a kernel of its own for the accelerator; the phone is not named")


@derives("fastvit#2")
def efficientnet(bench: Bench) -> Finding:
    return _phone(bench, (("efficientnet_b7", "fastvit_ma36"), ("efficientnet_b5", "fastvit_sa36")))


@derives("fastvit#3")
def convnext(bench: Bench) -> Finding:
    return _phone(bench, (("convnext_tiny", "fastvit_sa24"), ("convnext_small", "fastvit_sa36")))
