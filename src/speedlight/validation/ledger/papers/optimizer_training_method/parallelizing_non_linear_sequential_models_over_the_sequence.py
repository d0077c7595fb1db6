"""A recurrence of 17,000 dependent steps, or a few scans over all of them."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


@derives("parallelizing-non-linear-sequential-models-over-the-sequence#2")
def faster(bench: Bench) -> Finding:
    """Dependent steps at a kernel's latency, over iterations of a scan: hidden × hidden Jacobians composed in log2 levels."""
    tokens = bench.size(bench.given("tokens", 17000))
    machine = bench.machine("v100-sxm2-16gb")
    launch = float(machine.engine.launch_latency_s)
    bandwidth, peak = float(machine.main.bandwidth), float(machine.engine.peak("matmul", "fp32")[0].flops)
    spans = []
    for hidden in bench.unstated("hidden size", (16, 32)):
        for iterations in bench.unstated("iterations", (5, 12)):
            step = max(launch, 1e-6)
            composed = 2 * tokens * hidden**3 * 2 / peak + 3 * tokens * hidden**2 * 4 / bandwidth
            level = max(1.0, 1.0 * len(f"{int(tokens):b}"))
            spans.append(_ratio(tokens * step, iterations * (composed + level * launch)))
    return over(spans, "one dependent kernel a time step against a scan of Jacobians; forward and backward gain alike")


def _ratio(before: float, after: float) -> Span:
    return Span(before / after, before / after, before / after, before / after)
