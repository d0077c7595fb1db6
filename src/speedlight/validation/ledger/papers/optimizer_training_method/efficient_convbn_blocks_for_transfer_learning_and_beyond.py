"""Tune mode: a frozen norm becomes part of the weights, and its input is neither written nor kept."""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("efficient-convbn-blocks-for-transfer-learning-and-beyond#1")
def memory(bench: Bench) -> Finding:
    """Activations kept without it over those with it."""
    spans = []
    for batch in bench.unstated("batch", (8, 32)):
        common: dict[str, Any] = {"phase": "train", "batch": batch, "dtype": "fp32"}
        before = bench.ask("resnet50", "rtx-3090", **common)
        after = bench.ask("resnet50", "rtx-3090", ["tune-mode-conv-bn"], **common)
        less = bench.memory(after, "activations").value
        spans.append(bench.memory(before, "activations").mapped(lambda x, less=less: x / less))  # type: ignore[misc]
    return over(spans, "activations of a ResNet-50's step, a result less kept for every convolution and norm")
