"""Pipeline schedules: 2BP, vocabulary parallelism, BitPipe, PipeDream.

Passes are run, not formulas: what a schedule saves is the bubble it leaves out, at most (p − 1)/m of the work in 1F1B. What the
sources gain beyond (products of weight gradients over several micro-batches at once, eager exchange) no schedule gives.
"""

from __future__ import annotations

from typing import Any

from .....schedule.pipeline import StageClass, pipeline_step
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import at_most


@derives("2bp#1")
def two_stages(bench: Bench) -> Finding:
    """A step of a 7-billion-parameter transformer in four stages with its backward pass in two parts."""
    bench.stated(pp=4)
    bench.given("model", "llama-2-7b", "unstated", "LLaMa-like, 7 billion parameters")
    bench.given("machine", "dgx-a100-40gb", "unstated", "4 GPUs")
    spans = []
    for isl in bench.unstated("isl", (1024, 2048)):
        for schedule in bench.unstated("schedule", ("gpipe", "1f1b")):
            for batch in bench.unstated("batch", (4, 8), "as many micro-batches as stages, or twice"):
                common: dict[str, Any] = {
                    "phase": "train",
                    "pp": 4,
                    "isl": isl,
                    "micro_batch": 1,
                    "batch": batch,
                    "stack": "torch-eager",
                }
                for name in ("micro_batch", "stack"):
                    bench.given(name, common[name], "unstated")
                before = bench.ask("llama-2-7b", "dgx-a100-40gb", schedule=schedule, **common)
                after = bench.ask(
                    "llama-2-7b", "dgx-a100-40gb", ["two-stage-backpropagation"], schedule=schedule, **common
                )
                found = bench.speedup(before, after)
                most = 1 + bench.size(3.0) / batch
                spans.append(at_most(found, most))
    return over(
        spans,
        "weight gradients in the drain; the source also runs them for all micro-batches in one product, which no schedule gives",
    )


@derives("balancing-pipeline-parallelism-with-vocabulary-parallelism#1")
def vocabulary(bench: Bench) -> Finding:
    """A step whose vocabulary layers are dealt to all ranks over one whose last stage has them, per cent more throughput."""
    spans = []
    for words in bench.unstated("vocabulary", (32_768, 131_072, 262_144), "32k to 256k"):
        for ranks, hidden, layers in bench.unstated(
            "(ranks, hidden, layers)", ((8, 3072, 32), (16, 4096, 48), (32, 5120, 64)), "4B to 21B"
        ):
            layer = (
                12.0 * hidden * hidden + 2 * 2048 * hidden
            )  # products of a layer and its attention, a token of 2,048
            head = bench.size(float(hidden * words))
            micro = 128
            slowest = min(_slowest(layers, ranks, layer, head, last) for last in range(layers // ranks + 1))
            slow = slowest * (micro + ranks - 1) * 3
            each = layers / ranks * layer
            dealt = [StageClass(ranks, each, 2 * each, shared=3 * head / ranks)]
            fast = pipeline_step(dealt, micro, "vocabulary")
            gain, most = (100 * (slow / x - 1) for x in (float(fast.time), float(fast.busy)))
            spans.append(Span(gain, gain, gain, most))
    return over(
        spans,
        "1F1B with the head on the last stage, and as few layers beside it as serve best, against the head's share on every rank; "
        "128 micro-batches, messages left out",
    )


def _slowest(layers: int, ranks: int, layer: float, head: float, last: int) -> float:
    """Work of the slowest stage with so many layers beside the head, the others dealt evenly in whole layers."""
    others = -(-(layers - last) // (ranks - 1))
    return max(last * layer + head, others * layer)


@derives("bitpipe#1")
def both_ways_and_interleaved(bench: Bench) -> Finding:
    """Throughput over 1F1B, interleaved 1F1B and Chimera."""
    spans = []
    for ranks in bench.unstated("ranks", (4, 8), "stages of up to 32 GPUs"):
        for rounds in bench.unstated("micro-batches a rank", (1, 2, 4)):
            micro = ranks * rounds
            stage = [StageClass(ranks, 1.0, 2.0)]
            chimera = pipeline_step(stage, micro, "chimera")
            halved = float(chimera.busy) + bench.size(float(chimera.bubble)) / 2  # two chunks a rank, each way
            for name in ("interleaved", "chimera"):
                chunks = [StageClass(2 * ranks, 0.5, 1.0)] if name == "interleaved" else stage
                before = float(pipeline_step(chunks, micro, name).time)
                spans.append(Span(before / halved, before / halved, before / halved, before / float(chimera.busy)))
    bench.given("baseline", ("interleaved 1F1B", "Chimera"), "unstated", "state-of-the-art synchronous pipelines")
    return over(
        spans, "two interleaved pipelines both ways: half of Chimera's bubble; messages, which double, left out"
    )


@derives("pipedream#1")
def bytes_of_a_pipeline(bench: Bench) -> Finding:
    """Bytes of a worker and mini-batch, activations at a cut against gradients of all weights, per cent less."""
    spans = []
    weights = bench.size(138.36e6)
    convolutions = bench.size(14.71e6)
    bench.given(
        "model",
        "VGG-16: 138.36 million parameters, 14.71 of them convolutions, 25,088 activations between",
        "unstated",
        "a large CNN",
    )
    for workers in bench.unstated("workers", (4, 16)):
        whole = 2 * (workers - 1) / workers * weights * 4
        for batch in bench.unstated("batch", (32, 64, 128)):
            handed = 2 * 25_088 * 4 * batch  # forward and their gradients back
            replicated = 2 * (workers - 2) / (workers - 1) * convolutions * 4 + handed / (workers - 1)
            for sent in (handed, replicated):  # one layer after another, or all workers but one share the convolutions
                less = 100 * (1 - sent / whole)
                spans.append(Span(less, less, less, 100.0))
    return over(
        spans,
        "all-reduced gradients in fp32 against activations at the cut behind the convolutions, which are one stage or replicated",
    )
