"""Megatron-LM's 3D parallelism: tensor parallelism inside a box, pipelines across, replicas outside.

A trillion parameters on 3072 A100 (tp 8, pp 64, dp 6, batch 3072): FLOPs of a step over its seconds. Interleaving v chunks a rank
shortens the bubble (p − 1)/m by v and sends v times as often.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import at_most, rate

PAPER = "efficient-large-scale-language-model-training-on-gpu-cluster"


def _trillion(bench: Bench) -> list[tuple[Span, float]]:
    """Seconds of a step, and its FLOPs with recomputation, as the source counts them."""
    setting = bench.stated(
        model="megatron-1008b", machine="selene", batch=3072, isl=2048, tp=8, pp=64, dp=6, micro_batch=1, recompute="full",
        stack="megatron@2021.04",
    )  # fmt: skip
    found = []
    for chunks in bench.unstated("virtual", (1, 2), "whether its largest runs were interleaved"):
        how: dict[str, Any] = {"schedule": "interleaved", "virtual": chunks} if chunks > 1 else {}
        bench.given("schedule", "1f1b or interleaved", "unstated", "see virtual")
        answer = bench.ask(**setting, phase="train", **how)
        found.append((bench.time(answer), float(answer.hfu / answer.mfu * answer.flops)))
    return found


@derives(f"{PAPER}#3")
def aggregate(bench: Bench) -> Finding:
    """PFLOP/s of all devices, recomputation counted, as the source counts it."""
    spans = [time.mapped(rate(work / 1e15)) for time, work in _trillion(bench)]
    return over(spans, "FLOPs of a step with recomputation over its seconds, all 3072 devices")


@derives(f"{PAPER}#5")
def share_of_peak(bench: Bench) -> Finding:
    """The same per device over 312 TFLOP/s, per cent."""
    found = _trillion(bench)
    peak = bench.machine("selene").engine.peak("matmul", "bf16", None)[0].flops
    spans = [time.mapped(rate(100 * work / 3072 / peak)) for time, work in found]
    return over(spans, "FLOPs of a step with recomputation over its seconds and the peak of 3072 A100")


@derives(f"{PAPER}#1")
def interleaving(bench: Bench) -> Finding:
    """Throughput of the interleaved schedule over 1F1B, per cent more."""
    spans: list[Span] = []
    common: dict[str, Any] = {
        "phase": "train",
        "isl": 2048,
        "tp": 8,
        "micro_batch": 1,
        "recompute": "full",
        "stack": "megatron@2021.04",
    }
    bench.given("stack", "megatron@2021.04")
    bench.given("tp", 8)
    for batch in bench.unstated("batch", (48, 72, 96), "four to eight micro-batches a stage"):
        for chunks in bench.unstated("chunks", (2, 4)):
            before = bench.ask("gpt3-175b", "selene", pp=12, batch=batch, **common)
            after = bench.ask(
                "gpt3-175b", "selene", [f"interleaved-pipeline:chunks={chunks}"], pp=12, batch=batch, **common
            )
            found = bench.speedup(before, after).mapped(lambda x: 100 * (x - 1))
            most = 100 * bench.size(11.0) / batch  # no schedule saves more than the bubble, (p − 1)/m of the work
            spans.append(at_most(found, most))
    return over(
        spans,
        "a step of GPT-3 on 96 A100 in 12 stages: the bubble shortens by the chunks a rank, messages grow by them",
    )
