"""Monarch Mixer: attention as a long convolution of √N × √N products, feed-forward weights in blocks along the diagonal.

Cost grows as N^1.5; the baseline's scores pass through memory where its attention is written out, which is most of the gain.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives


@derives("monarch-mixer#1")
def parameters(bench: Bench) -> Finding:
    """Weights of BERT with feed-forward parts in four blocks, plain or gated (half as wide again)."""
    spans = []
    for model in bench.unstated("model", ("bert-base", "bert-large"), "both are named"):
        whole = bench.facts(model)["params"]
        block = bench.ask(
            model, "a100-sxm-40gb", ["monarch-mixer:blocks=4"], phase="forward", batch=1, isl=128, dtype="fp16"
        )
        plain = bench.ask(model, "a100-sxm-40gb", phase="forward", batch=1, isl=128, dtype="fp16")
        saved = 1 - float(block.memory.by_class["weights"]) / float(plain.memory.by_class["weights"])
        for gated in bench.unstated(
            "gated", (1.0, 5 / 6), "a gate's weights beside: of the saved three quarters a sixth is spent again"
        ):
            spans.append(exactly(bench.size(saved * gated * 100)))
        bench.given("parameters", whole, "derived")
    return over(spans, "weights of the layers, kernels of the convolutions aside")


@derives("monarch-mixer#2")
def throughput(bench: Bench) -> Finding:
    """Sequences of 4,096 tokens a second beside BERT as the usual library wrote it."""
    bench.stated(isl=4096)
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-40gb", "a100-sxm-80gb"), "a GPU of its year"):
        for batch in bench.unstated("batch", (1, 8)):
            common: dict[str, Any] = {"phase": "forward", "batch": batch, "isl": 4096, "dtype": "fp16"}
            bert = bench.ask("bert-base", machine, stack="transformers@4.35", **common)
            mixer = bench.ask("bert-base", machine, ["monarch-mixer"], stack="torch-compile", **common)
            spans.append(bench.speedup(bert, mixer))
    return over(
        spans,
        "BERT-base with attention written out in eager PyTorch over Monarch products in fused kernels; the claim is the most over lengths",
    )


@derives("monarch-mixer#4")
def vision(bench: Bench) -> Finding:
    """Weights of ViT-b with feed-forward parts in blocks."""
    bench.given("model", "vit-b-16")
    spans = []
    for blocks in bench.unstated("blocks", (3, 4, 8), "of its feed-forward weights; which is not said"):
        common: dict[str, Any] = {"phase": "forward", "batch": 1, "dtype": "fp16"}
        plain = bench.ask("vit-b-16", "a100-sxm-40gb", **common).memory.by_class["weights"]
        mixer = bench.ask("vit-b-16", "a100-sxm-40gb", [f"monarch-mixer:blocks={blocks}"], **common).memory.by_class[
            "weights"
        ]
        spans.append(exactly(bench.size(float(mixer) / float(plain))))
    return over(
        [Span(s.low, s.value, s.high) for s in spans],
        "weights of the layers over ViT-b's; projections around the mixer stay dense",
        more=False,
    )
