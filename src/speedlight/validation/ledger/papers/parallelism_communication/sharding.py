"""Sharded states and sequences: three-level partitioning on Frontier, layered accumulation, sequence parallelism's memory.

ZeRO-3 gathers every weight twice a micro-batch over all ranks; partitioned inside a node only gradients cross its 12.5 GB/s a GCD. Layered
accumulation gathers once a step and deals layers one by one, so that a pipeline's fill is a layer's, not a stage's. Dividing
tokens divides every activation, where tensor parallelism leaves some whole and stops at the number of heads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .....engine.predict import predict
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives
from ._shared import at_most, even

FRONTIER = "scaling-large-language-model-training-on-frontier-with-low-b"
STACK = "megatron@2024.03"  # messages beside computation, as the analysis takes them
LAYERED = "layered-gradient-accumulation-and-modular-pipeline-paralleli"


def _twenty_billion(bench: Bench, techniques: tuple[str, ...], devices: int, sequences: int) -> Any:
    setting: dict[str, Any] = {
        "phase": "train", "isl": 2048, "dp": devices, "zero": 3, "micro_batch": 1, "batch": devices * sequences, "recompute": "full",
        "stack": "deepspeed",
    }  # fmt: skip
    for name in ("isl", "micro_batch", "recompute"):
        bench.given(name, setting[name], "unstated")
    bench.given("stack", "deepspeed")
    bench.given("zero", 3)
    bench.given("model", "gpt-neox-20b", "published", "a GPT of 20 billion parameters")
    return bench.ask("gpt-neox-20b", "frontier-full", techniques, **setting)


@derives(f"{FRONTIER}#2")
def over_plus_plus(bench: Bench) -> Finding:
    """TFLOP/s a device over ZeRO++, up to 384 GCDs."""
    bench.stated(machine="frontier-full", dp=384)
    spans = []
    for sequences in bench.unstated("batch", (1, 2, 4), "sequences a device and step"):
        before = _twenty_billion(bench, ("zero-plus-plus",), 384, sequences)
        after = _twenty_billion(bench, ("low-bandwidth-partitioning",), 384, sequences)
        spans.append(bench.speedup(before, after))
    return over(
        spans,
        "a step with weights gathered in a node and a pair, over one with weights gathered forward over all ranks, both in few bits; at full rates of the links computing hides most of either, and what the library falls short of them is left unexplained",
    )


@derives(f"{FRONTIER}#4")
def scaling(bench: Bench) -> Finding:
    """Throughput a device on 384 GCDs over that on 64."""
    bench.stated(machine="frontier-full", dp=384)
    spans = []
    for sequences in bench.unstated("batch", (1, 2, 4), "sequences a device and step"):
        few, many = (_twenty_billion(bench, ("low-bandwidth-partitioning",), n, sequences) for n in (64, 384))
        found = bench.speedup(few, many, of="throughput")
        spans.append(at_most(found, 1.0))
    return over(spans, "tokens a second and device on 384 over those on 64")


@derives(f"{LAYERED}#1")
def half_the_time(bench: Bench) -> Finding:
    """Seconds of a step of a trillion parameters with both methods over one without, as few micro-batches as stages."""
    spans = []
    bench.given("model", "megatron-1008b", "published", "trillion-parameter scale")
    bench.given("machine", "selene", "unstated", "A100 of the time")
    for pp in bench.unstated("pp", (8, 16)):
        common: dict[str, Any] = {
            "phase": "train", "isl": 2048, "tp": 8, "pp": pp, "dp": 4, "micro_batch": 1, "batch": 4 * pp, "recompute": "full", "zero": 3,
            "stack": STACK,
        }  # fmt: skip
        for name in ("isl", "tp", "dp", "batch", "micro_batch", "recompute", "zero", "stack"):
            bench.given(name, common[name], "unstated")
        before = bench.ask("megatron-1008b", "selene", **{**common, "zero": 1})
        after = bench.ask("megatron-1008b", "selene", ["layered-gradient-accumulation"], **common)
        spans.append(bench.speedup(before, after).mapped(lambda x: 1 / x))
    return over(
        spans,
        "one micro-batch a stage, where a step is shortest: 1F1B fills and drains for as long as it works, layers dealt one by one hardly",
        more=False,
    )


def _fits(bench: Bench, along: str, sizes: np.ndarray, **options: Any) -> float:
    """The largest of some sizes that fits."""
    scenario = bench.question("bert-base", "p100-pcie-16gb", phase="train", stack="megatron@2021.04", **options)
    workload = {along: sizes} | ({"training": scenario.program.workload.training} if along == "isl" else {})
    answer = predict(scenario.with_workload(**workload), details=False)
    fine = np.broadcast_to(np.asarray(answer.fits), sizes.shape)
    return float(sizes[fine].max()) if fine.any() else 0.0


def _memory_setting(bench: Bench) -> None:
    bench.stated(machine="p100-pcie-16gb", devices=64)
    bench.given("model", "bert-base", "unstated", "the smaller BERT of its figures")
    bench.given("stack", "megatron@2021.04", "published", "its baseline")


@derives("sequence-parallelism#1")
def largest_batch(bench: Bench) -> Finding:
    """Largest batch of 512-token sequences, 64 ranks of tokens over as many of heads as divide them."""
    _memory_setting(bench)
    bench.given("isl", 512, "unstated")
    spans = []
    sizes = np.arange(4.0, 8192.0, 4.0)
    for heads in bench.unstated("ranks of tensor parallelism", (4, 12), "what 12 heads divide into"):
        ours = _fits(bench, "batch", sizes, isl=512, cp=64, batch=64)
        theirs = _fits(bench, "batch", sizes, isl=512, tp=heads, batch=64)
        spans.append(even(ours / theirs))
    return over(
        spans,
        "the largest batch that fits 16 GB: all activations divided by 64, against those between heads divided by 12",
    )


@derives("sequence-parallelism#2")
def longest(bench: Bench) -> Finding:
    """Longest sequence of a batch of 64."""
    _memory_setting(bench)
    spans = []
    sizes = np.arange(64.0, 16384.0, 64.0)
    for batch in bench.unstated("batch", (16, 64)):
        for heads in bench.unstated("ranks of tensor parallelism", (4, 12), "what 12 heads divide into"):
            ours = _fits(bench, "isl", sizes, batch=batch, cp=64)
            theirs = _fits(bench, "isl", sizes, batch=batch, tp=heads)
            spans.append(even(ours / theirs))
    return over(
        spans, "the longest sequence that fits 16 GB; scores of attention are divided by ranks or by heads alike"
    )
