"""WaferLLM: weights in the SRAM of a wafer, partial sums across its mesh.

A product of a matrix and a vector reads the matrix once: from HBM at 2 TB/s, or from 40 GB of SRAM at 20 PB/s and then across the
mesh. The mesh's crossing, not the SRAM, sets the wafer's time; a whole model pays it op after op.
"""

from __future__ import annotations

import json

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

PRODUCTS = 6  # of a layer that wait for one another: projections, scores, mix, output, up, down


def _product(side: int) -> str:
    """A matrix times a vector as an ops file."""
    op = {"name": "product", "template": "gemm", "with": {"m": 1, "n": side, "k": side}}
    return json.dumps({"schema": 1, "name": f"gemv-{side}", "dtype": "fp16", "ops": [op]})


def _products(bench: Bench) -> list[Span]:
    wafer = bench.machine("wse-2")
    fill, start = float(wafer.engine.fill_s), float(wafer.engine.launch_latency_s)
    spans = []
    for side in bench.unstated(
        "side of the matrix", (8192, 16384), "square, in 16 bits; what a layer of a large model has"
    ):
        held = bench.size(2.0 * side * side)
        there = held / float(wafer.main.bandwidth) + start
        there += held / float(wafer.engine.peak("matmul", "fp16")[0].flops)
        here = bench.ask(_product(side), "a100-sxm-80gb")
        # The sums cross half a side at least (a tree to the middle), both sides at most (a ring, then the spreading).
        slow, middle, fast = (there + fill * share for share in (1.0, 0.5, 0.25))
        most = float(here.high) / fast
        spans.append(Span(float(here.low) / slow, float(here.time) / middle, most, most))
    return spans


@derives("waferllm#2")
def product(bench: Bench) -> Finding:
    """Matrix times vector."""
    return over(
        _products(bench), "reads from HBM against reads from SRAM and sums that cross from half a side of the mesh to both sides, a "
        "hop a clock of 0.85 GHz (assumed): a faster clock or a larger matrix is left unexplained",
    )  # fmt: skip


@derives("waferllm#3")
def energy(bench: Bench) -> Finding:
    """The same with what both draw."""
    wafer = bench.given("watts of the wafer", 15000.0, "assumed", "15 kW of the card alone, of 23 kW of the system")
    gpu = float(bench.machine("a100-sxm-80gb").tdp_w or 0.0)
    spans = [s.mapped(lambda x: x * gpu / wafer) for s in _products(bench)]
    return over(spans, "the speed-up times the ratio of rated powers: what the speed-up lacks, this lacks")


@derives("waferllm#4")
def whole_model(bench: Bench) -> Finding:
    """Decoding of one sequence."""
    spans = []
    fill = float(bench.machine("wse-2").engine.fill_s)
    for model, layers in bench.unstated(
        "model, layers", (("llama-3.1-8b", 32), ("llama-2-13b", 40)), "what fits into 40 GB in 16 bits"
    ):
        wafer = bench.ask(model, "wse-2", phase="decode", batch=1, context=2048, dtype="fp16")
        for degree in bench.unstated("tp", (4, 8), "a cluster of A100"):
            gpus = bench.ask(
                model, "dgx-a100-80gb", phase="decode", batch=1, context=2048, dtype="fp16", tp=degree, stack="vllm"
            )
            made = bench.speedup(gpus, wafer)
            least = float(wafer.limit) + PRODUCTS * layers * fill / 4  # no sum crosses less than half a side
            spans.append(Span(made.low, made.value, made.high, float(gpus.time) / least))
    return over(spans, "decode steps of one sequence, tensor-parallel A100 against the wafer laid out layer by layer")
