"""MARLIN: 4-bit weights widened in the shadow of their own reads.

At few tokens a linear layer reads its weights once, in 4.125 bits instead of 16: 3.88× at most. With the batch the reads of
activations and, past the ridge point, the products themselves take over, which no weight format shortens: where that happens is a
figure of the GPU, not of the technique.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...kernels import kernel, ops
from ...registry import derives

GPUS = ("a10", "rtx-3090", "a100-sxm-80gb")
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def _layer(bench: Bench, machine: str, tokens: int, weights: str = "int4", size: int = 16384) -> Span:
    """A linear layer with its weights in 16 bits over in 4; large enough that no cache holds them."""
    sources = [
        ops(("gemm", {"m": tokens, "n": size, "k": int(bench.size(size)), **own})) for own in ({}, {"weights": weights})
    ]
    before, after = (kernel(bench, "one linear layer", s, machine, stack="ideal") for s in sources)
    ratio = float(before.time / after.time)
    return Span(ratio, ratio, ratio, float(before.time / after.limit))


def _last(bench: Bench, machine: str, least: float) -> int:
    """The largest power of two of tokens at which the gain is at least so much."""
    return max((m for m in ROWS if _layer(bench, machine, m).value >= least), default=1)


@derives("marlin#1")
def most(bench: Bench) -> Finding:
    """A layer at few tokens."""
    bench.stated(weights="int4")
    spans = [
        _layer(bench, machine, tokens, weights)
        for weights in bench.unstated(
            "weights with their scales", ("int4", "int4_values"), "a scale for 128 weights, or one a column"
        )
        for machine in bench.unstated("machine", GPUS, "GPUs of the source's time that serve")
        for tokens in bench.given("batch", (1, 16))
    ]
    return over(spans, "weights in 4 bits with their scales against 16 bits, each read once at the memory's bandwidth")


@derives("marlin#2")
def near(bench: Bench) -> Finding:
    """Tokens up to which the gain is near its most: nine tenths of it."""
    bench.stated(weights="int4")
    spans = [exactly(float(_last(bench, m, 0.9 * _layer(bench, m, 1).value))) for m in bench.unstated("machine", GPUS)]
    return over(
        spans, "the last power of two before products, which are done in 16 bits either way, take longer than the reads"
    )


@derives("marlin#3")
def decayed(bench: Bench) -> Finding:
    """Tokens up to which a good part of it is left: half as much again."""
    bench.stated(weights="int4")
    spans = [exactly(float(_last(bench, m, 1.5))) for m in bench.unstated("machine", GPUS)]
    return over(
        spans, "past the ridge point the gain falls with the tokens until 16-bit weights are bound by products too"
    )


@derives("marlin#4")
def served(bench: Bench) -> Finding:
    """Decode steps of whole models in vLLM, at the batches where the kernel is near its best."""
    bench.given("stack", "vllm")
    common: dict[str, Any] = {"phase": "decode", "context": 1024, "stack": "vllm"}
    spans = []
    for machine in bench.unstated("machine", GPUS):
        for batch in bench.unstated("batch", (1, 16)):
            before, after = (
                bench.ask("llama-2-7b", machine, t, batch=batch, **common) for t in ([], ["weight-only-int"])
            )
            spans.append(bench.speedup(before, after))
    return over(spans, "a decode step with weights in 4.125 bits against 16, everything else as it was")
