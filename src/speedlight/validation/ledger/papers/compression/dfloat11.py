"""DFloat11: exponents of bf16 weights as Huffman codes, decoded a block at a time into a buffer.

A weight's exponent says how often its magnitude was halved; of bell-shaped weights it has under three bits of entropy, whatever
their scale. Sign and mantissa stay, so a weight takes 8 bits and a code. Freed memory holds longer contexts, or spares a model
that does not fit from crossing the host's link at every token.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

# Thread gaps (5 bits for every 64) and block positions (32 bits for every 16 KiB) of the kernel, and Huffman's whole bits.
AROUND = 5 / 64 + 32 / (16 * 8192)


def entropy(scales: tuple[float, ...], phase: float) -> float:
    """Bits of the exponent of weights that are normal with one of these scales, equally often."""
    ends = 2.0 ** np.arange(-60, 12)
    inside = np.array([sum(math.erf(x / (s * 2**phase) / math.sqrt(2)) for s in scales) / len(scales) for x in ends])
    share = np.diff(inside)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


@derives("70-size-100-accuracy#1")
def size(bench: Bench) -> Finding:
    """1 − bits of a weight over 16."""
    found = []
    spreads = ((1.0,), (0.5, 1.0, 2.0), (0.25, 0.5, 1.0, 2.0, 4.0))
    for spread in bench.unstated(
        "scales of the weights that share a code", spreads, "rows and layers of one scale, or of up to 16-fold"
    ):
        for phase in (0.0, 0.5):
            bits = bench.size(8 + entropy(spread, phase) * 1.01) * (1 + AROUND / 11)
            found.append(exactly((1 - bits / 16) * 100))
    return over(
        found,
        "the entropy of a normal weight's exponent, computed; signs and mantissas as they are, the kernel's positions added",
    )


@derives("70-size-100-accuracy#2")
def against_offloading(bench: Bench) -> Finding:
    """Decode steps of models that fit in 11 bits and not in 16, against the rest of their weights crossing the link."""
    spans = []
    pairs = (
        ("gemma-3-12b", "rtx-a5000"),
        ("qwen2.5-14b", "rtx-a5000"),
        ("gemma-3-27b", "rtx-a6000"),
        ("qwen2.5-32b", "rtx-a6000"),
    )
    for model, machine in bench.unstated(
        "model and GPU", pairs, "models of the named families that 11 bits bring onto one GPU"
    ):
        weights = bench.facts(model)["weight_bytes"]
        capacity = bench.machine(machine).main.capacity_bytes
        share = min(1.0, max(0.0, 1 - (float(capacity) - 2e9) / weights) + 0.02)
        for batch in bench.unstated("batch", (1, 32)):
            common: dict[str, Any] = {"phase": "decode", "batch": batch, "context": 256}
            before = bench.ask(model, machine, [f"weights-offload:share={share:.3f}"], stack="accelerate", **common)
            after = bench.ask(model, machine, ["lossless-weights"], stack="transformers", **common)
            spans.append(bench.speedup(before, after))
    return over(
        spans,
        "accelerate's offload copies the missing layers over PCIe for every token and waits; the codes are decoded on the device into a buffer; Accelerate as a thin stack is assumed",
    )


@derives("70-size-100-accuracy#3")
def longer_contexts(bench: Bench) -> Finding:
    """Memory left for keys and values after the weights and the runtime, in 11 bits over 16."""
    found = []
    pairs = (("llama-3.1-8b", 16), ("gemma-3-12b", 24), ("qwen2.5-14b", 32), ("qwen2.5-7b", 16))
    for model, gib in bench.unstated(
        "model and memory in GiB", pairs, "the smallest common GPU that holds the model in 16 bits"
    ):
        weights = bench.facts(model)["weight_bytes"]
        for reserve in bench.unstated("bytes of the runtime and a step's activations", (0.3e9, 0.6e9)):
            free = bench.size(gib * 2.0**30) - weights - reserve
            found.append(exactly((free + weights * 5 / 16 - weights / 40) / free))
    return over(
        found,
        "bytes left for keys and values; the decoded block takes a fortieth of the weights; close to a full GPU the ratio has no bound",
    )


@derives("70-size-100-accuracy#4")
def bytes_of_405b(bench: Bench) -> Finding:
    bench.stated(model="llama-3.1-405b", weights="bf16")
    return over(
        [exactly(bench.facts("llama-3.1-405b")["weight_bytes"] / 1e9)], "parameters of the configuration in two bytes"
    )


@derives("70-size-100-accuracy#5")
def gpus(bench: Bench) -> Finding:
    """The fewest 80 GB GPUs, in powers of two as tensor parallelism divides, that hold the codes."""
    bench.stated(model="llama-3.1-405b", machine="80 GB GPUs", batch=1)
    bench.given("context", 1024, "published", "any short one; the weights decide")
    for n in (1, 2, 4, 8, 16, 32):
        answer = bench.ask(
            "llama-3.1-405b",
            bench.given("machine", "a100-sxm-80gb"),
            ["lossless-weights"],
            phase="decode",
            batch=1,
            context=1024,
            tp=bench.given("tp", n),
        )
        if bool(answer.fits):
            return over(
                [Span(n, n, n, n)],
                f"{float(answer.memory.total) / 1e9:.1f} of 80 GB are taken on each of {n}; in 16 bits the weights alone are {810 / n:.0f} GB",
                more=False,
            )
    return over([Span(64, 64, 64, 64)], "more than 32 GPUs", more=False)
