"""Harmony: work regrouped so that a layer's weights are swapped once, not for every micro-batch of every device.

With virtualised memory each of n devices brings all weights in and out for every micro-batch, forward and backward, and once more for
the update: (4·m + 2)·n weights. One layer's work of all micro-batches together swaps 3·n of them, and layers dealt over devices 3.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("harmony#1")
def swaps(bench: Bench) -> Finding:
    """Swapped weights before and after."""
    spans = []
    for devices in bench.unstated("GPUs", (4, 8), "a commodity server"):
        for micro in bench.unstated("micro-batches of a device", (4, 8, 16)):
            before = (4 * bench.size(micro) + 2) * devices
            spans.append(exactly(before / 3))
    return over(
        spans, "swapped weights of virtualised data parallelism over those of grouped layers dealt over the devices"
    )


@derives("harmony#2")
def throughput(bench: Bench) -> Finding:
    """One card: weights brought for each of eight micro-batches by a stack that waits, or once beside the computing."""
    spans = []
    for model in bench.unstated("model", ("gpt2-xl", "bert-large")):
        for micro in bench.unstated("micro-batches of a device", (4, 8)):
            common: dict[str, Any] = {"phase": "train", "batch": 8, "isl": 512, "recompute": "full", "dtype": "fp32"}
            outside = ("weights:host", "gradients:host", "optimizer:host")
            before = bench.ask(
                model, "titan-xp", stack="unified-memory", micro_batch=8 // micro, offload=outside, **common
            )
            after = bench.ask(model, "titan-xp", ["grouped-weight-swaps"], stack="torch-eager", **common)
            spans.append(bench.speedup(before, after))
    return over(
        spans,
        "a step whose weights come for every micro-batch against one whose weights come once; page faults are left out",
    )
