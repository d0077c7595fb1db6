"""Integer Swin without GELU: with ReLU nothing has to leave the integers between two products.

What is saved is GELU's kernel between the two products of each feed-forward layer: read, widened, computed, quantised, written. ReLU is a
product's epilogue.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("faster-inference-of-integer-swin-transformer-by-removing-the#1")
def latency(bench: Bench) -> Finding:
    bench.stated(machine="rtx-4090")
    found = []
    for size in bench.unstated("model", ("tiny", "small", "base"), "Swin"):
        for batch in bench.unstated("batch", (8, 32)):
            answer = bench.detailed(f"timm/swin_{size}_patch4_window7_224", "rtx-4090", ["integer-only"], batch=batch,
                                    stack=bench.given("stack", "torch-compile", "assumed", "pointwise functions in kernels between products, as FasterTransformer has them"))  # fmt: skip
            gelu = sum(float(o.time) for o in answer.ops if o.name.endswith("mlp.act") and o.kind == "elementwise")
            found.append(exactly(gelu / float(answer.time) * 100))
    return over(
        found, "the share of a step in the kernels between the feed-forward products, which an epilogue takes over"
    )
