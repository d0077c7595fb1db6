"""FFCV: the input pipeline out of the way, ImageNet in 20 minutes.

With samples decoded ahead of the step, what is left is the training step: images an epoch, epochs, images per second.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

IMAGES = 1_281_167  # of the training set


@derives("ffcv#1")
def minutes(bench: Bench) -> Finding:
    """Epochs of a ResNet-50 at the step's own speed on one machine of eight GPUs."""
    bench.stated(model="resnet50")
    spans = []
    for size in bench.unstated("pixels", (176,), "training at rising resolution, 160 to 192: its mean"):
        for epochs in bench.unstated("epochs", (16, 18), "what reaches 75 % with such schedules"):
            step = bench.ask(
                "resnet50", "dgx-a100-40gb", phase="train", batch=1024, dp=8, dtype="amp", layout="nhwc", optimizer="sgd_momentum",
                inputs=(f"1x3x{size}x{size}",),
            )  # fmt: skip
            steps = bench.size(epochs * IMAGES / 1024)
            spans.append(bench.time(step).mapped(lambda s, n=steps: s * n / 60))  # type: ignore[misc]
    why = "steps of 1,024 images on eight A100, nothing waiting for data; decoding on the host may still bind what we leave out"
    return over(spans, why, more=False)
