"""16-bit integers on vector units: convolutions twice as fast, the rest as it was."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


@derives("mixed-precision-training-of-convolutional-neural-networks-us#1")
def whole_step(bench: Bench) -> Finding:
    """A training step with every convolution and product at half its time, and half the bytes between them."""
    bench.given("gain of convolutions", 2.0)
    spans = []
    for model in ("resnet50", "vgg16"):
        bench.given(f"model {model}", model)
        for batch in bench.unstated("batch", (32, 64)):
            bench.given("model", "as named")
            step = bench.detailed(
                model, "xeon-platinum-8480", phase="train", batch=batch, dtype="fp32", optimizer="sgd_momentum"
            )
            whole = float(step.time)
            products = sum(float(r.time) for r in step.ops if r.kind in ("conv", "matmul"))
            spans.append(Span(whole / (whole - products / 2), whole / (whole - products / 2), 2.0, 2.0))
    return over(
        spans, "Amdahl's law over the step's own parts; the upper end halves the bytes of everything else as well"
    )
