"""Training on Frontier: half an MI250X card (a GCD, 191.5 TFLOP/s) is a device; eight share a node's links.

Layouts are not in the abstract: tensor parallelism up to a node, pipelines beyond, replicas outside, as the source's text searches
them. Percentages are of a GCD's peak.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import at_most, rate

PAPER = "optimizing-distributed-training-on-frontier-for-large-langua"
# model, devices, tensor parallel, stages, sequences a replica and step
RUNS = {
    "22b": ("megatron-22b", 1024, ((2, 8), (8, 2), (4, 4))),
    "175b": ("gpt3-175b", 1024, ((4, 16), (8, 8), (8, 16))),
    "1t": ("megatron-1008b", 3072, ((8, 64), (8, 32))),
}
STACK = "megatron@2022.05"


def _step(bench: Bench, model: str, devices: int, layout: tuple[int, int], micro: int) -> Any:
    tp, pp = layout
    dp = devices // (tp * pp)
    return bench.ask(
        model, "frontier-full", phase="train", isl=2048, tp=tp, pp=pp, dp=dp, batch=dp * micro, micro_batch=1, zero=1,
        recompute="full", stack=STACK,
    )  # fmt: skip


def _utilisation(bench: Bench, run: str) -> Finding:
    model, devices, layouts = RUNS[run]
    bench.stated(model=model, machine="frontier-full")
    bench.given("stack", STACK, "assumed", "Megatron-DeepSpeed with FlashAttention 2")
    peak = bench.machine("frontier-full").engine.peak("matmul", "bf16", None)[0].flops
    spans: list[Span] = []
    for tp, pp in bench.unstated("layout (tp, pp)", layouts):
        for micro in bench.unstated(
            "micro-batches a replica", (4 * max(p for _, p in layouts), 8 * max(p for _, p in layouts))
        ):
            answer = _step(bench, model, devices, (tp, pp), micro)
            time = bench.time(answer)
            work = 100 * float(answer.hfu / answer.mfu * answer.flops) / devices / peak
            least = float(answer.limit) * (1 + (pp - 1) / micro)  # no kernel shortens fill and drain below their share
            found = time.mapped(rate(work))
            spans.append(Span(found.low, found.value, found.high, work / least))
    return over(spans, "FLOPs of a step with recomputation over its seconds and 191.5 TFLOP/s a GCD")


@derives(f"{PAPER}#4")
def small(bench: Bench) -> Finding:
    """22B, per cent of peak."""
    return _utilisation(bench, "22b")


@derives(f"{PAPER}#5")
def middle(bench: Bench) -> Finding:
    """175B, per cent of peak."""
    return _utilisation(bench, "175b")


@derives(f"{PAPER}#6")
def large(bench: Bench) -> Finding:
    """1T, per cent of peak."""
    return _utilisation(bench, "1t")


def _scaled(bench: Bench, run: str, few: int, weak: bool) -> Finding:
    """Throughput per device on all devices over that on few, per cent."""
    model, devices, layouts = RUNS[run]
    bench.stated(model=model, machine="frontier-full", devices=devices)
    bench.given("stack", STACK, "assumed", "Megatron-DeepSpeed with FlashAttention 2")
    bench.given("fewer devices", few, "unstated", "where the curve starts")
    spans: list[Span] = []
    for layout in bench.unstated("layout (tp, pp)", layouts[:2]):
        for rounds in bench.unstated("micro-batches a stage at the fewer devices", (16, 32) if not weak else (4, 8)):
            micro = rounds * layout[1]
            less = _step(bench, model, few, layout, micro)
            more = _step(bench, model, devices, layout, micro if weak else micro * few // devices)
            found = bench.speedup(less, more, of="throughput")
            spans.append(at_most(found, 100.0, 100.0))
    return over(
        spans,
        "tokens a second and device on all devices over those on fewer, "
        + ("a replica's batch" if weak else "the whole batch")
        + " held",
    )


@derives(f"{PAPER}#7")
def weak_175(bench: Bench) -> Finding:
    """Weak scaling of 175B to 1024."""
    return _scaled(bench, "175b", 256, weak=True)


@derives(f"{PAPER}#8")
def weak_1t(bench: Bench) -> Finding:
    """Weak scaling of 1T to 3072."""
    return _scaled(bench, "1t", 1024, weak=True)


@derives(f"{PAPER}#9")
def strong_175(bench: Bench) -> Finding:
    """Strong scaling of 175B to 1024."""
    return _scaled(bench, "175b", 256, weak=False)


@derives(f"{PAPER}#10")
def strong_1t(bench: Bench) -> Finding:
    """Strong scaling of 1T to 3072."""
    return _scaled(bench, "1t", 1024, weak=False)


@derives(f"{PAPER}#1")
def compute(bench: Bench) -> Finding:
    """6 N D of a trillion parameters and 20 trillion tokens, in millions of exaFLOPs."""
    parameters = bench.size(bench.given("parameters", 1e12))
    tokens = bench.given("tokens", 20e12)
    work = 6 * parameters * tokens / 1e18 / 1e6
    return over([Span(work, work, work)], "six FLOPs a parameter and token: two forward, four backward")
