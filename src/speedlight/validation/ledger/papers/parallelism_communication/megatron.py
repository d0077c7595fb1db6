"""Megatron-LM's 3D parallelism: tensor parallelism inside a box, pipelines across, replicas outside.

A trillion parameters on 3072 A100 (tp 8, pp 64, dp 6, batch 3072): FLOPs of a step over its seconds. Interleaving v chunks a rank
shortens the bubble (p − 1)/m by v and sends v times as often.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

PAPER = "efficient-large-scale-language-model-training-on-gpu-cluster"


def _trillion(bench: Bench) -> Any:
    setting = bench.stated(
        model="megatron-1008b", machine="selene", batch=3072, isl=2048, tp=8, pp=64, dp=6, micro_batch=1, recompute="full",
        stack="megatron@2021.04",
    )  # fmt: skip
    bench.stated(virtual=2)
    return bench.ask(**setting, phase="train", schedule="interleaved", virtual=2)


@derives(f"{PAPER}#3")
def aggregate(bench: Bench) -> Finding:
    """PFLOP/s of all devices, recomputation counted, as the source counts it."""
    answer = _trillion(bench)
    time = bench.time(answer)
    work = float(answer.hfu / answer.mfu * answer.flops) / 1e15
    return over(
        [time.mapped(lambda s: work / s)], "FLOPs of a step with recomputation over its seconds, all 3072 devices"
    )


@derives(f"{PAPER}#5")
def share_of_peak(bench: Bench) -> Finding:
    """The same per device over 312 TFLOP/s, per cent."""
    answer = _trillion(bench)
    time = bench.time(answer)
    peak = bench.machine("selene").engine.peak("matmul", "bf16", None)[0].flops
    work = 100 * float(answer.hfu / answer.mfu * answer.flops) / 3072 / peak
    return over(
        [time.mapped(lambda s: work / s)],
        "FLOPs of a step with recomputation over its seconds and the peak of 3072 A100",
    )


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
    for batch in bench.unstated("batch", (24, 48, 96), "two to eight micro-batches a stage"):
        for chunks in bench.unstated("chunks", (2, 4)):
            before = bench.ask("gpt3-175b", "selene", pp=12, batch=batch, **common)
            after = bench.ask(
                "gpt3-175b", "selene", [f"interleaved-pipeline:chunks={chunks}"], pp=12, batch=batch, **common
            )
            spans.append(bench.speedup(before, after).mapped(lambda x: 100 * (x - 1)))
    return over(
        spans,
        "a step of GPT-3 on 96 A100 in 12 stages: the bubble shortens by the chunks a rank, messages grow by them",
    )
