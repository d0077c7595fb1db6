"""DeepSpeed Inference: fused kernels and captured steps where a model fits; weights streamed from host or disk where it does not.

At small batches an eager framework issues kernel after kernel and the device waits; fusing and capturing removes that. Streamed layers cost
nothing once a batch keeps the matrix units busy for as long as the stream takes.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives


@derives("deepspeed-inference#1")
def latency(bench: Bench) -> Finding:
    """One sequence: eager code against fused and captured."""
    spans = []
    for model in bench.unstated("model", ("gpt2-xl", "gpt-j-6b"), "dense models of its year that fit one device"):
        for baseline in bench.unstated(
            "baseline",
            ("transformers-generate", "transformers@4.35"),
            "the state of the art is not named: eager code, generating or step by step",
        ):
            asked: dict[str, Any] = {"phase": "generate", "batch": 1, "isl": 128, "osl": 8, "dtype": "fp16"}
            before = bench.ask(model, "a100-sxm-40gb", stack=baseline, **asked)
            after = bench.ask(model, "a100-sxm-40gb", stack="deepspeed-inference", **asked)
            spans.append(bench.speedup(before, after))
    return over(
        spans, "generation of eight tokens by one sequence; a weak baseline: most of it is the host issuing kernels"
    )


@derives("deepspeed-inference#2")
def throughput(bench: Bench) -> Finding:
    """Batches of the year's engines."""
    spans = []
    for model in bench.unstated("model", ("gpt-neox-20b", "gpt3-175b")):
        tp = 1 if model == "gpt-neox-20b" else 8
        for batch in bench.unstated("batch", (8, 32)):
            asked: dict[str, Any] = {
                "phase": "generate",
                "batch": batch,
                "isl": 512,
                "osl": 50,
                "dtype": "fp16",
                "tp": tp,
            }
            before = bench.ask(model, "dgx-a100-80gb", stack="fastertransformer", **asked)
            spans.append(bench.speedup(before, bench.ask(model, "dgx-a100-80gb", stack="deepspeed-inference", **asked)))
    return over(
        spans,
        "the same kernels with and without capturing; schedules that hide pipeline stages and the baseline's own losses are left unexplained",
    )


@derives("deepspeed-inference#4")
def larger(bench: Bench) -> Finding:
    """What a disk holds over what a GPU holds."""
    gpu = float(bench.machine("rtx-a6000").main.capacity_bytes)
    spans = [
        exactly(bench.size(disk) * room / gpu)
        for disk in bench.unstated("disk (B)", (1e12, 2e12), "an NVMe disk of a workstation")
        for room in bench.unstated("share of it for weights", (0.6, 0.9))
    ]
    return over(spans, "weights in 16 bits on a workstation's disk against those that fit an A6000")


def _rates(bench: Bench) -> list[Span]:
    machine = "rtx-a6000"
    bench.stated(machine=machine)
    peak = float(bench.machine(machine).engine.peak("matmul", "fp16")[0].flops)
    spans = []
    for model in bench.unstated("model", ("gpt-neox-20b", "gpt3-20b")):
        for batch in bench.unstated("batch", (4, 16), "prompts of 2k tokens: enough that the stream of weights hides"):
            asked = bench.ask(
                model, machine, phase="prefill", batch=batch, isl=2048, dtype="fp16", stack="deepspeed-inference"
            )
            work = float(asked.flops)
            spans.append(
                Span(
                    work / float(asked.high),
                    work / float(asked.time),
                    work / float(asked.low),
                    min(work / float(asked.limit), peak),
                )
            )
    return spans


@derives("deepspeed-inference#5")
def achieved(bench: Bench) -> Finding:
    """TFLOP/s of an A6000."""
    return over(
        [s.mapped(lambda x: x / 1e12) for s in _rates(bench)], "products of a prompt step, streaming hidden behind them"
    )


@derives("deepspeed-inference#6")
def share(bench: Bench) -> Finding:
    """Of its dense peak with 16-bit accumulation stated as 154.8 TFLOP/s."""
    peak = float(bench.machine("rtx-a6000").engine.peak("matmul", "fp16")[0].flops)
    return over([s.mapped(lambda x: x / peak * 100) for s in _rates(bench)], "the same over the card's peak")
