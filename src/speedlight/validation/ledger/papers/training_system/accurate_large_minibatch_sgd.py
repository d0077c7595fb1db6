"""ImageNet in an hour: 256 GPUs, 32 images each, all-reduce behind the backward pass."""

from __future__ import annotations

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

IMAGES, EPOCHS = 1_281_167, 90


def _step(bench: Bench, boxes: int) -> Prediction:
    bench.stated(model="resnet50")
    bench.given("dp", 256)
    name = "dgx-1-p100" + (f"x{boxes}" if boxes > 1 else "")
    return bench.ask(
        "resnet50", name, phase="train", batch=256 * boxes, dp=8 * boxes, dtype="fp32", optimizer="sgd_momentum"
    )  # fmt: skip


@derives("accurate-large-minibatch-sgd#3")
def hours(bench: Bench) -> Finding:
    """90 epochs at the step's speed."""
    bench.given("epochs", EPOCHS, "assumed", "the usual schedule")
    steps = bench.size(EPOCHS * IMAGES / 8192)
    span = bench.time(_step(bench, 32)).mapped(lambda s: s * steps / 3600)
    return over([span], "steps of 8,192 images on 256 P100; loading and validation are left out", more=False)


@derives("accurate-large-minibatch-sgd#4")
def scaling(bench: Bench) -> Finding:
    """Images per second of 256 over 32 times those of 8."""
    one, many = _step(bench, 1), _step(bench, 32)
    ratio = bench.speedup(one, many)
    share = Span(100 * ratio.low, 100 * ratio.value, min(100.0, 100 * ratio.high), 100.0)
    return over(
        [share], "a step of one box over one of 32 boxes; stragglers, which a synchronous step waits for, are left out"
    )
