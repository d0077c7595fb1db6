"""Adapters as sparse overwrites: a switch scatters 1 to 2 % of the weights instead of merging a low-rank product into all of them."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

LINE = 64.0  # bytes of a cache line: what one scattered element reads and writes


@derives("sparse-high-rank-adapters#4")
def switch(bench: Bench) -> Finding:
    """Seconds of a merge, W + B·A over all of W, over those of a scatter."""
    machine = bench.machine("i9-10940x")
    bandwidth = float(machine.main.bandwidth)
    peak = float(machine.engine.peak("matmul", "fp32")[0].flops)
    spans = []
    for rank in bench.unstated("rank", (16, 64)):
        for share in bench.given("share of weights", (0.01, 0.02)):
            merge = bench.size(2 * 4.0) / bandwidth + 2.0 * rank / peak
            scatter = share * (bench.size(4.0 + 4.0) + 2 * LINE) / bandwidth
            packed = share * (bench.size(4.0 + 4.0) + 2 * LINE / 4) / bandwidth  # several changed elements a line
            spans.append(Span(merge / scatter, merge / scatter, merge / packed, merge / packed))
    return over(
        spans,
        "per weight: read, add and write all of it, against a cache line for each changed one, or a line for four",
    )
