"""I-ViT: the whole vision transformer in INT8, softmax, GELU and layer norm by shifts, compiled by TVM.

"Integer arithmetic units" are taken at their word: a GPU's DP4A does four INT8 multiply-adds in the place of one in FP32, and every
tensor is a quarter of its size, so that four is the limit; launches stay.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

DP4A = 4.0


@derives("i-vit#1")
def speed(bench: Bench) -> Finding:
    machine = bench.given("machine", "rtx-2080-ti", "assumed", "a GPU of the paper's time with integer units")
    vector = next(p for p in bench.machine(machine).engine.peaks if (p.unit, p.format) == ("vector", "fp32"))
    bench.given("INT8 rate", "4 times FP32's", "assumed", "DP4A on the vector units")
    figures = {f"engines.{bench.machine(machine).engine.name}.peaks.matmul.int8": float(vector.flops) * DP4A}
    spans = []
    for model in bench.unstated("model", ("deit_tiny", "deit_small", "deit_base"), "DeiT"):
        for stack in bench.unstated(
            "stack", ("torch-compile-reduce-overhead", "tensorrt"), "compiled, with a graph's launches"
        ):
            for batch in bench.unstated("batch", (4, 8)):
                common: dict[str, Any] = {
                    "batch": batch,
                    "stack": stack,
                    "dtype": "fp32",
                    "tf32": "off",
                    "overrides": figures,
                }
                name = f"timm/{model}_patch16_224"
                spans.append(
                    bench.speedup(
                        bench.ask(name, machine, **common), bench.ask(name, machine, ["integer-only"], **common)
                    )
                )
    return over(
        spans, "products at four times the FP32 rate, tensors of a quarter of the size, the same compiler on both sides"
    )
