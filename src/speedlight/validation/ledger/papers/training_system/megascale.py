"""MegaScale: 175 B parameters on 12,288 GPUs.

What it adds to Megatron-LM is overlap of the messages of every axis and fewer stalls. The engine has Megatron of two dates: of 2022,
whose messages stand in the way, and of 2024, which overlaps them.
"""

from __future__ import annotations

from typing import Any

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


def _step(bench: Bench, stack: str) -> Prediction:
    layout: dict[str, Any] = {
        "tp": 8,
        "pp": 8,
        "dp": 192,
        "sp": 1,
        "zero": 1,
        "micro_batch": 1,
        "recompute": "selective",
    }
    bench.stated(model="gpt3-175b")
    bench.given("devices", 12288)
    return bench.ask(
        "gpt3-175b", "dgx-a100-80gbx1536", phase="train", batch=6144, isl=2048, schedule="interleaved:6", stack=stack, **layout
    )  # fmt: skip


@derives("megascale#1")
def utilisation(bench: Bench) -> Finding:
    """MFU of a step under the Megatron that overlaps."""
    time = bench.time(step := _step(bench, "megatron@2024.03"))
    work = float(step.mfu) * time.value
    share = Span(100 * work / time.high, 100 * float(step.mfu), 100 * work / time.low, 100 * work / float(step.limit))
    return over([share], "model FLOPs over the peak of 12,288 A100 for a step; failures and stragglers are left out")


@derives("megascale#2")
def over_megatron(bench: Bench) -> Finding:
    """The step with messages in the way over the one that overlaps them."""
    before, after = (_step(bench, stack) for stack in ("megatron@2022.05", "megatron@2024.03"))
    return over(
        [bench.speedup(before, after)],
        "Megatron of 2022 over Megatron of 2024 at equal layout; stragglers are left out",
    )
