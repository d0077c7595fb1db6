"""WaferLLM: weights in the SRAM of a wafer, partial sums across its mesh.

A product of a matrix and a vector reads the matrix once: from HBM at 2 TB/s, or from 40 GB of SRAM at 20 PB/s and then across the
mesh. The mesh's crossing, not the SRAM, sets the wafer's time; a whole model pays it op after op.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

def _products(bench: Bench) -> list[Span]:
    wafer, gpu = bench.machine("wse-2"), bench.machine("a100-sxm-80gb")
    fill, start = float(wafer.engine.fill_s), float(wafer.engine.launch_latency_s)
    spans = []
    for side in bench.unstated("side of the matrix", (8192, 16384), "square, in 16 bits; what a layer of a large model has"):
        held = bench.size(2.0 * side * side)
        there = held / float(wafer.main.bandwidth) + start
        there += held / float(wafer.engine.peak("matmul", "fp16")[0].flops)
        best = held / float(gpu.main.bandwidth)
        for share in bench.unstated("share of HBM's bandwidth reached", (0.75, 0.9)):
            here = best / share + float(gpu.engine.launch_latency_s)
            # The sums cross half a side at least (a tree to the middle), both sides at most (a ring, then the spreading).
            spans.append(Span(here / (there + fill), here / (there + fill / 2), here / (there + fill / 4), best / (there + fill / 4)))
    return spans


@derives("waferllm#2")
def product(bench: Bench) -> Finding:
    """Matrix times vector."""
    return over(
        _products(bench), "reads from HBM against reads from SRAM and sums that cross from half a side of the mesh to both sides, a "
        "hop a clock of 0.85 GHz",
    )  # fmt: skip


@derives("waferllm#3")
def energy(bench: Bench) -> Finding:
    """The same with what both draw."""
    wafer = bench.given("watts of the wafer", 15000.0, "assumed", "15 kW of the card alone, of 23 kW of the system")
    gpu = float(bench.machine("a100-sxm-80gb").tdp_w or 0.0)
    spans = [s.mapped(lambda x: x * gpu / wafer) for s in _products(bench)]
    return over(spans, "the speed-up times the ratio of rated powers")


@derives("waferllm#4")
def whole_model(bench: Bench) -> Finding:
    """Decoding of one sequence."""
    spans = []
    for model in bench.unstated("model", ("llama-3.1-8b", "llama-2-13b"), "what fits into 40 GB in 16 bits"):
        wafer = bench.ask(model, "wse-2", phase="decode", batch=1, context=2048, dtype="fp16")
        for degree in bench.unstated("tp", (4, 8), "a cluster of A100"):
            gpus = bench.ask(model, "dgx-a100-80gb", phase="decode", batch=1, context=2048, dtype="fp16", tp=degree, stack="vllm")
            spans.append(bench.speedup(gpus, wafer))
    return over(spans, "decode steps of one sequence, tensor-parallel A100 against the wafer laid out layer by layer")
