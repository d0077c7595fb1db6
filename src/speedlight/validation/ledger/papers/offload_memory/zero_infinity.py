"""ZeRO-Infinity: weights, gradients and states in shards on all ranks, kept in host memory or on NVMe.

A trillion parameters in mixed precision take 16 to 20 TB of states; what a card holds beside a layer at work and its checkpoints says
how many cards that needs, and the disks of one box say what it can train at all.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

PARAMETERS = 1e12


@derives("zero-infinity#2")
def memory_growth(bench: Bench) -> Finding:
    """Of a V100's first version to an A100's second."""
    first, last = (
        bench.machine(bench.given("machine", m)).main.capacity_bytes for m in ("v100-sxm2-16gb", "a100-sxm-80gb")
    )
    bench.given("machine", ("v100-sxm2-16gb", "a100-sxm-80gb"))
    return over([exactly(bench.size(float(last)) / float(first))], "capacities of the two machine files")


@derives("zero-infinity#3")
def cards(bench: Bench) -> Finding:
    """States over what is left of 32 GB beside activations."""
    capacity = float(bench.machine(bench.given("machine", "v100-sxm3-32gb")).main.capacity_bytes)
    bench.stated(parameters=PARAMETERS)
    spans = []
    for each in bench.unstated(
        "bytes a parameter", (16.0, 18.0, 20.0), "mixed-precision Adam, with 16- or 32-bit gradients and buffers"
    ):
        for spare in bench.unstated("share of a card for activations and buffers", (0.15, 0.3)):
            spans.append(exactly(bench.size(PARAMETERS * each) / (capacity * (1 - spare))))
    return over(
        spans, "states of 1 T parameters over what cards have left; 800 cards are 25.6 bytes a parameter", more=False
    )


@derives("zero-infinity#5")
def one_box(bench: Bench) -> Finding:
    """A DGX-2's NVMe drives, with its host memory for what is in flight."""
    bench.given("machine", "dgx-2")
    spans = []
    for disks in bench.unstated("bytes of NVMe", (28e12, 30e12), "a DGX-2 has 30 TB; some of it is the system's"):
        for each in bench.unstated("bytes a parameter", (16.0, 20.0)):
            spans.append(exactly(disks / bench.size(each)))
    return over(spans, "parameters whose states fit the box's NVMe drives; its host memory alone holds 0.09 T")


@derives("zero-infinity#6")
def sustained(bench: Bench) -> Finding:
    """512 V100 in 32 DGX-2."""
    bench.stated(machine="dgx-2x32", phase="train", devices=512)
    spans = []
    for model in bench.unstated("model", ("megatron-529.6b", "megatron-1008b")):
        for micro in bench.unstated("micro-batch", (2, 4), "1 leaves the gathering of weights bare"):
            p = bench.ask(
                model, "dgx-2x32", ["zero-infinity"], phase="train", batch=256 * micro, micro_batch=micro, isl=1024, tp=4, dp=128,
                zero=3, recompute="full", stack="deepspeed", dtype="fp16",
            )  # fmt: skip
            spans.append(bench.time(p).mapped(lambda t, p=p: float(p.flops) / t / 1e15))  # type: ignore[misc]
    return over(
        spans,
        "a step's model FLOPs on all ranks over its time: tp 4, shards over 128, weights gathered for every micro-batch",
    )


@derives("zero-infinity#7")
def fraction(bench: Bench) -> Finding:
    """What is stated of the rate, over the peak of the machine file."""
    devices = bench.stated(devices=512)["devices"]
    peak = float(bench.machine(bench.given("machine", "v100-sxm2-32gb")).engine.peak("matmul", "fp16")[0].flops)
    rates = bench.unstated("PFLOP/s", (25.0, 25.9), "over 25")
    spans = [exactly(100 * rate * 1e15 / (devices * peak)) for rate in rates]
    return over(spans, "25 PFLOP/s over 512 cards is 48.8 TFLOP/s each, over a card's tensor peak of 125")
