"""GENet: full convolutions where the image is large, bottlenecks where channels are many, so that FLOPs run at a GPU's rate."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives
from ..model_architecture.images import ratio


@derives("neural-architecture-design-for-gpu-efficient-networks#2")
def speed(bench: Bench) -> Finding:
    """Images a second beside EfficientNets of as much accuracy; the claim is the most over GPUs and engines."""
    bench.given("model", "gernet_l")
    spans = []
    for machine in bench.unstated("machine", ("v100-sxm2-32gb", "t4"), "GPUs of 2020"):
        for other in bench.unstated("network", ("efficientnet_b2", "efficientnet_b3"), "80 to 81.6 %"):
            for dtype, stack in bench.unstated("dtype, stack", (("fp16", "tensorrt"), ("amp", "torch-eager"))):
                spans.append(
                    ratio(
                        bench,
                        other,
                        "gernet_l",
                        machine,
                        phase="forward",
                        batch=64,
                        dtype=dtype,
                        stack=stack,
                        with_=("reparameterized",),
                    )
                )
    return over(spans, "images a second at 256 pixels over EfficientNets at their own sizes")
