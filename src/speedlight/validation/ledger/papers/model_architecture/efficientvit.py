"""EfficientViT: fewer attention blocks between feed-forward ones, heads that see a part of the features each.

Less of the network is reshaping and element-wise work, so more of its time goes into products. Its published speed test folds
batch norms, runs batches of 2,048 under autocast on the GPU and of 16 on one thread of the CPU.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from .images import gain, one_core, ratio

TEST = "the paper's speed_test.py"
CORE = (12e9, 20e9)  # bytes a second that a core of such a server draws


def _gpu(bench: Bench, before: str, after: str) -> list[Span]:
    bench.stated(machine="v100", dtype="amp", batch=2048)
    bench.given("speed test", "batch norms folded, traced", "published", TEST)
    return [
        ratio(bench, before, after, "v100-sxm2-32gb", with_=("reparameterized",), phase="forward", batch=2048, dtype="amp", stack=stack)
        for stack in bench.unstated("stack", ("torch-eager", "torch-compile@2.1"), "traced: fused by how much is not said")
    ]  # fmt: skip


def _cpu(bench: Bench, before: str, after: str) -> list[Span]:
    bench.given("threads", 1, "published", TEST)
    bench.given("batch", 16, "published", TEST)
    spans = []
    for machine in bench.unstated("machine", ("xeon-platinum-8280", "xeon-platinum-8380"), "an Intel Xeon"):
        for read in bench.unstated("bytes a second of one core", CORE):
            spans.append(ratio(
                bench, before, after, machine, with_=("reparameterized",), phase="forward", batch=16, dtype="fp32", stack="torch-eager",
                overrides=one_core(bench, machine, read),
            ))  # fmt: skip
    return spans


@derives("efficientvit#2")
def large_on_gpu(bench: Bench) -> Finding:
    return over(map(gain, _gpu(bench, "mobilenetv3_large_100", "efficientvit_m5")),
                "images a second beside MobileNetV3-Large; whether its batch norms were folded too is not said")  # fmt: skip


@derives("efficientvit#3")
def large_on_cpu(bench: Bench) -> Finding:
    return over(
        map(gain, _cpu(bench, "mobilenetv3_large_100", "efficientvit_m5")), "images a second on one core of a server"
    )


@derives("efficientvit#5")
def small_on_gpu(bench: Bench) -> Finding:
    return over(_gpu(bench, "mobilevit_xxs", "efficientvit_m2"), "images a second beside MobileViT-XXS at 256 pixels")


@derives("efficientvit#6")
def small_on_cpu(bench: Bench) -> Finding:
    return over(_cpu(bench, "mobilevit_xxs", "efficientvit_m2"), "images a second on one core of a server")


@derives("efficientvit#7")
def small_in_onnx(bench: Bench) -> Finding:
    spans = []
    for machine in bench.unstated(
        "machine", ("xeon-platinum-8280", "v100-sxm2-32gb"), "the abstract names neither for ONNX"
    ):
        batch = 16 if machine.startswith("xeon") else 2048
        spans.append(
            ratio(
                bench,
                "mobilevit_xxs",
                "efficientvit_m2",
                machine,
                phase="forward",
                batch=batch,
                dtype="fp32",
                stack="onnxruntime",
            )
        )
    return over(spans, "both networks in ONNX Runtime: transposes and small kernels of MobileViT are not fused away")
