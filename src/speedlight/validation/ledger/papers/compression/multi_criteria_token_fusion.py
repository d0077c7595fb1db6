"""MCTF: each layer fuses r tokens, so layer i of 12 sees 197 − r·i of them.

Every operation of a layer is counted at its own tokens: products in proportion, attention with the square.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("multi-criteria-token-fusion-with-one-step-ahead-attention-fo#1")
def flops(bench: Bench) -> Finding:
    found = []
    for model in bench.unstated("model", ("vit-ti-16", "vit-s-16"), "DeiT-T and DeiT-S are these ViTs"):
        machine = bench.given("machine", "a100-sxm-80gb", "published", "any: work alone counts")
        batch = bench.given("batch", 1, "published", "any: a ratio")
        whole = float(bench.ask(model, machine, batch=batch, isl=197).flops)
        for fused in bench.unstated(
            "tokens fused in each layer", (14, 16), "what leaves a tenth to a fifth behind the last layer"
        ):
            layers = [
                float(
                    bench.ask(
                        model, machine, batch=batch, isl=bench.given("isl", 197 - fused * i, "published", "by layer")
                    ).flops
                )
                for i in range(12)
            ]
            found.append(exactly((1 - bench.size(sum(layers) / 12) / whole) * 100))
    return over(found, "the mean over the layers of a pass with each layer's tokens")
