"""GPUSQ-ViT: two of four weights left out, the rest in INT8 or INT4, on sparse integer Tensor Cores.

Bytes fall by 6.4 or 12.8 exactly. At one image a step is launches and short kernels, so a quarter of the products brings little; at
many images products and activations decide. TensorRT's FP16 engine is taken for the dense baseline.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

_ID = "boost-vision-transformer-with-gpu-friendly-sparsity-and-quan"
MODELS = ("timm/deit_small_patch16_224", "timm/deit_base_patch16_224", "timm/swin_base_patch4_window7_224")
SPARSE = ("integer-only", "sparsity-2-4")


@derives(f"{_ID}#1")
def size(bench: Bench) -> Finding:
    """Bits of four weights: 128 over 20 in INT8, over 10 in INT4."""
    bench.stated(weights="fp32", sparse_weights="INT8 or INT4, two of four")
    found = [exactly(bench.bits("fp32") / (bench.bits(f) / bench.size(1.0))) for f in ("int8_2of4", "int4_values_2of4")]
    return over(
        found, "4 weights in fp32 are 128 bits; two in INT8 and their places 20, two pairs in INT4 and theirs 10"
    )


@derives(f"{_ID}#2")
def operations(bench: Bench) -> Finding:
    """Bit operations: a product costs its operands' widths multiplied, two of four halve it; what is not pruned stays."""
    found = []
    for model in bench.unstated("model", MODELS):
        dense = bench.ask(
            model, bench.given("machine", "a100-sxm-80gb"), batch=bench.given("batch", 1, "published", "any: a ratio")
        )
        sparse = bench.ask(model, "a100-sxm-80gb", ["sparsity-2-4"], batch=1)
        kept = float(
            sparse.flops / dense.flops
        )  # half of the linear layers' products, all of attention's and the head's
        for widths in bench.unstated(
            "widths of a product's operands, in bits", ((8, 8), (8, 4)), "INT8; INT4 weights, with activations in INT8"
        ):
            found.append(exactly(32 * 32 / (widths[0] * widths[1]) / bench.size(kept)))
    return over(
        found,
        "products counted by the widths of their operands, halved where two of four are left out; the source's convention is inferred",
    )


def _gain(bench: Bench, machine: str, batches: tuple[int, ...]) -> Finding:
    bench.stated(machine=machine)
    bench.given("dtype", "fp16", "assumed", "what TensorRT's dense engines run in")
    bench.given("stack", "tensorrt", "assumed")
    spans: list[Span] = []
    for model in bench.unstated("model", MODELS, "DeiT and Swin"):
        for batch in bench.unstated("batch", batches):
            common: dict[str, Any] = {"batch": batch, "stack": "tensorrt", "dtype": "fp16"}
            spans.append(
                bench.speedup(bench.ask(model, machine, **common), bench.ask(model, machine, SPARSE, **common))
            )
    return over(
        spans,
        "a forward pass with every tensor in INT8 and two of four weights left out, over the same in FP16; nothing of it is tuned",
    )


@derives(f"{_ID}#3")
def a100_latency(bench: Bench) -> Finding:
    return _gain(bench, "a100-sxm-80gb", (1,))


@derives(f"{_ID}#4")
def a100_throughput(bench: Bench) -> Finding:
    return _gain(bench, "a100-sxm-80gb", (64, 256))


@derives(f"{_ID}#5")
def orin_latency(bench: Bench) -> Finding:
    return _gain(bench, "jetson-agx-orin-64gb", (1,))


@derives(f"{_ID}#6")
def orin_throughput(bench: Bench) -> Finding:
    return _gain(bench, "jetson-agx-orin-64gb", (64, 256))
