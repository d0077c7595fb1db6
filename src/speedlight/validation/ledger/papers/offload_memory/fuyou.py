"""Fuyou: a model's states on SSDs, every part of the path and the host's update beside the computing.

13 B parameters are 0.2 TB of states that are read and written every step: what SSDs bring decides, until enough of them leave the step
to the products. 156 TFLOP/s are 94 % of an RTX 4090's peak with fp32 accumulation (165), or 47 % of that with fp16 (330).
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

RATES = (12.0e9, 38.0e9)  # bytes/s of a server's SSDs together: two and a dozen of PCIe 3.0 and 4.0


def _rates(bench: Bench, technique: str, again: str) -> list[Span]:
    bench.stated(machine="rtx-4090", model="opt-13b")
    spans = []
    for rate in bench.unstated("overrides", RATES, "bytes/s of all SSDs together"):
        for batch in bench.unstated("batch", (32, 128)):
            p = bench.ask(
                "opt-13b", "rtx-4090", [technique], phase="train", batch=batch, micro_batch=8, isl=1024, recompute=again,
                stack="deepspeed", overrides={"tiers.nvme.bandwidth": rate},
            )  # fmt: skip
            spans.append(bench.time(p).mapped(lambda t, p=p: float(p.flops) / t / 1e12))  # type: ignore[misc]
    return spans


@derives("adding-nvme-ssds-to-enable-and-accelerate-100b-model-fine-tu#1")
def largest(bench: Bench) -> Finding:
    """States over what a dozen drives hold."""
    spans = []
    for room in bench.unstated(
        "bytes of SSDs", (4e12, 8e12), "what commodity servers have; 175 B parameters need 2.8 TB"
    ):
        for each in bench.unstated("bytes a parameter", (16.0, 18.0)):
            spans.append(exactly(room / bench.size(each)))
    return over(spans, "parameters whose weights, gradients and states fit the SSDs")


@derives("adding-nvme-ssds-to-enable-and-accelerate-100b-model-fine-tu#2")
def fuyou(bench: Bench) -> Finding:
    why = "a step's model FLOPs over its time with everything beside the computing; the claim is 94 % of the peak with fp32 accumulation"
    return over(_rates(bench, "overlapped-state-swaps", "none"), why)


@derives("adding-nvme-ssds-to-enable-and-accelerate-100b-model-fine-tu#3")
def infinity(bench: Bench) -> Finding:
    return over(
        _rates(bench, "zero-infinity", "full"),
        "the same with layers computed again, and the update after the backward pass",
    )


@derives("adding-nvme-ssds-to-enable-and-accelerate-100b-model-fine-tu#5")
def highest(bench: Bench) -> Finding:
    capacity = float(bench.machine(bench.given("machine", "h100-sxm-80gb")).main.capacity_bytes)
    return over([exactly(bench.size(capacity) / 1e9)], "the capacity in the machine file")
