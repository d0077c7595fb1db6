"""Gradients in fewer bits on slow networks: 1-bit Adam and 8-bit approximations.

Of a data-parallel step computing does not change; what shrinks is the exchange, by the bits, less what packing costs and, of 1-bit
Adam, the warm-up whose gradients travel whole.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import network

WARMUPS = (0.1, 0.15, 0.2)


@derives("1-bit-adam#1")
def volume(bench: Bench) -> Finding:
    """Bytes of a run with whole gradients over those of one bit after a warm-up."""
    bits = bench.bits("fp16")
    spans = []
    for warm in bench.unstated("warm-up share", WARMUPS, "a tenth to a fifth of the steps"):
        less = 1.0 / (warm + (1.0 - warm) / bits)
        spans.append(Span(less, less, less, less))
    return over(spans, "1 / (w + (1 − w)/16): after the warm-up a 16-bit gradient travels as one bit")


def _on_ethernet(bench: Bench, batch: int, isl: int, accumulated: int) -> list[Span]:
    bench.stated(model="bert-large")
    bench.given("stack", "deepspeed", "published", "the optimizer ships with it")
    bench.given("isl", isl, "unstated", "sequence length of the phase")
    spans = []
    for rate in bench.unstated(
        "network, bytes/s a device", (0.15e9, 0.31e9, 0.6e9), "10 to 40 Gbit/s Ethernet a box of eight, by TCP"
    ):
        for warm in bench.unstated("warm-up share", (0.0, 0.15), "after it, or over a whole run"):
            common: dict[str, Any] = {
                "phase": "train", "isl": isl, "dp": 256, "batch": batch * 256 * accumulated, "micro_batch": batch, "stack": "deepspeed",
                "overrides": network(bench, "infiniband", rate), "optimizer": "adam",
            }  # fmt: skip
            bench.given("overrides", "the network above", "unstated")
            for name in ("dp", "batch", "micro_batch"):
                bench.given(name, common[name], "unstated", "up to 256 devices")
            bench.given("optimizer", "adam")
            before = bench.ask("bert-large", "dgx-1-v100-32gbx32", **common)
            after = bench.ask("bert-large", "dgx-1-v100-32gbx32", [f"one-bit-adam:warmup={warm}"], **common)
            spans.append(bench.speedup(before, after))
    bench.given("machine", "dgx-1-v100-32gbx32", "unstated", "V100 of the time, boxes of eight")
    return spans


@derives("1-bit-adam#3")
def pretraining(bench: Bench) -> Finding:
    """BERT-Large on up to 256 devices over Ethernet, a step with whole gradients over one in one bit."""
    return over(
        _on_ethernet(bench, 16, 128, 4), "a pre-training step of 128 tokens a sequence, four micro-batches of 16"
    )


@derives("1-bit-adam#4")
def finetuning(bench: Bench) -> Finding:
    """SQuAD: 384 tokens, small batches, no accumulation."""
    return over(_on_ethernet(bench, 3, 384, 1), "a fine-tuning step of 384 tokens a sequence, three of them a device")


@derives("8-bit-approximations-for-parallelism-in-deep-learning#1")
def transfers(bench: Bench) -> Finding:
    """Seconds of an exchange in 32 bits over one in 8, packing included."""
    ratio = bench.bits("fp32") / bench.bits("int8")
    spans = []
    for machine in bench.unstated("machine", ("k80-die", "titan-x-maxwell"), "GPUs of 2015"):
        memory = bench.machine(machine).main.bandwidth
        for rate in bench.unstated("network, bytes/s", (5e9, 10e9), "QDR to FDR InfiniBand, PCIe 3"):
            plain = 4.0 / (rate * bench.perturbed.links)
            packed = plain / ratio + 2 * (4.0 + 1.0) / (0.6 * memory)  # read whole, write small, and back, at both ends
            spans.append(Span(plain / packed, plain / packed, plain / packed, ratio))
    return over(
        spans, "four bytes over the network against one and two passes through the GPU's memory at 60 % of its rate"
    )


@derives("8-bit-approximations-for-parallelism-in-deep-learning#2")
def ninety_six(bench: Bench) -> Finding:
    """Speed-up on 96 GPUs in 8 bits from that in 32: 1/S = 1/96 + exchange, and the exchange is a quarter."""
    slow = bench.given("system speed-up in 32 bits", 23.0)
    devices = bench.given("devices", 96)
    ratio = bench.bits("fp32") / bench.bits("int8")
    sent = 1.0 / slow - 1.0 / devices
    found = 1.0 / (1.0 / devices + bench.size(sent) / ratio)
    return over(
        [Span(found, found, found, float(devices))], "the exchange's part of the 32-bit figure, a quarter as long"
    )
