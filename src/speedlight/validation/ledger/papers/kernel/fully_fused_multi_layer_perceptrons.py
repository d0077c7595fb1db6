"""Fully fused perceptrons: 64 features a layer leave nothing to do between launches.

Layer by layer each reads and writes its rows; in one kernel the rows come once and go once. Bytes fall by the number of layers, launches
too, which is what small batches are bound by.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...kernels import faster, kernel, ops
from ...registry import derives


def _network(rows: int, layers: int) -> str:
    listed: list[tuple[str, dict[str, Any]]] = []
    for i in range(layers):
        x = {"a": f"op{2 * i - 1}.out"} if i else {}
        listed.append(("gemm", {"m": rows, "n": 64, "k": 64, **x}))
        listed.append(("elementwise", {"elements": 64 * rows, "x": f"op{2 * i}.out"}))
    return ops(*listed, dtype="bf16")


def _gain(bench: Bench, machine: str, other: str) -> Finding:
    spans = []
    for layers in bench.unstated("layers", (4, 8, 11)):
        for rows in bench.unstated("batch", (2**14, 2**17, 2**20)):
            source = _network(int(bench.size(rows)), layers)
            before = kernel(bench, "a perceptron of 64 features a layer", source, other, stack="torch-eager")
            after = kernel(
                bench, "a perceptron of 64 features a layer", source, machine, ["fused-mlp"], stack="torch-eager"
            )
            spans.append(faster(before, after, 2.0 * layers * float(before.limit / before.limit)))
    return over(spans, "two calls a layer against one kernel for all; the bound counts a call for each")


@derives("fully-fused-multi-layer-perceptrons-on-intel-data-center-gpu#3")
def same_gpu(bench: Bench) -> Finding:
    """Against layer by layer on the same GPU."""
    bench.given("machine", "max-1550")
    return _gain(bench, "max-1550", "max-1550")


@derives("fully-fused-multi-layer-perceptrons-on-intel-data-center-gpu#4")
def other_gpu(bench: Bench) -> Finding:
    """Against layer by layer in PyTorch on an H100."""
    bench.given("machine", "max-1550; h100")
    return _gain(bench, "max-1550", "h100-pcie-80gb")
