"""Winner-take-all sampling: of the activations that weight gradients need, a share of the rows is kept.

Memory is what is fixed (weights, gradients, states) and a batch of activations; adapters take most of the first away, sampling most of
the second. Attention's and norms' own activations stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


def _parts(bench: Bench, model: str = "t5-large") -> Iterator[tuple[float, float, float, float]]:
    """(fixed bytes and bytes a sequence of full fine-tuning, fixed bytes with adapters, bytes a sequence sampled)."""
    for length in bench.unstated("isl", (128, 256)):
        common: dict[str, Any] = {"phase": "train", "isl": length, "stack": "torch-eager", "dtype": "fp32"}
        one, two = (bench.ask(model, "a100-sxm-80gb", batch=b, **common).memory.by_class for b in (8, 16))
        each = (float(two["activations"]) - float(one["activations"])) / 8
        fixed = sum(float(one[c]) for c in ("weights", "gradients", "optimizer"))
        light = float(one["weights"]) * 1.05
        for kept in bench.unstated("share of rows kept", (0.1, 0.3)):
            for linear in bench.unstated("linear layers' part of saved activations", (0.6, 0.8)):
                yield fixed, each, light, each * (1 - linear * (1 - kept))


@derives("winner-take-all-column-row-sampling-for-memory-efficient-ada#1")
def peak(bench: Bench) -> Finding:
    """At the batch fine-tuning is measured at."""
    spans = []
    for batch in bench.unstated("batch", (32, 64)):
        for fixed, each, light, sampled in _parts(bench):
            spans.append(exactly((fixed + bench.size(batch) * each) / (light + batch * sampled)))
    return over(spans, "weights, states and a batch of activations, against adapters and sampled activations")


@derives("winner-take-all-column-row-sampling-for-memory-efficient-ada#2")
def batch_gain(bench: Bench) -> Finding:
    """In the same memory."""
    spans = []
    for model, room in bench.unstated("model and bytes of the card", (("t5-large", 48e9), ("t5-3b", 80e9))):
        for fixed, each, light, sampled in _parts(bench, model):
            size = room * bench.perturbed.capacity
            if size > fixed + each:
                spans.append(exactly((size - light) / sampled / ((size - fixed) / each)))
    return over(spans, "sequences that fit beside what is fixed")
