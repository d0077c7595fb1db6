"""Lean attention: units without work.

A decode step's attention has one query a head: dealt out by sequence and head, few blocks stream keys and values, and each draws no
more from memory than it has on its way at once. Dealt out in equal tiles of context, all units do. The gain is how far heads ×
sequences fall short of the blocks it takes to saturate the memory; it does not depend on the context once that is long.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...bench import Bench
from ...finding import Finding, Span, over
from ...kernels import attention, faster, kernel
from ...registry import derives


def _gain(bench: Bench, machine: str, seqs: int, heads: int, context: int) -> Span:
    source = attention(seqs, 1, heads, 128, keys=context)
    common = {"stack": "ideal"}
    before = kernel(bench, "attention of one new token", source, machine, ["unsplit-decode-attention"], **common)
    after = kernel(bench, "attention of one new token", source, machine, ["lean-attention"], **common)
    # All units busy, keys and values come cold at the memory's full bandwidth: that is what physics allows.
    return faster(before, after, float(before.time / after.time))


def _walk(bench: Bench, contexts: Sequence[int], heads: Sequence[int], batches: Sequence[int]) -> list[Span]:
    return [
        _gain(bench, machine, batch, h, context)
        for machine in bench.unstated("machine", ("a100-sxm-80gb",), "a GPU that FlashAttention-2 was written for")
        for context in bench.unstated("context", contexts)
        for h in bench.unstated("heads", heads, "of one GPU, tensor parallelism included")
        for batch in bench.unstated("batch", batches)
    ]


@derives("lean-attention#1")
def average(bench: Bench) -> Finding:
    """Over ordinary sizes."""
    return over(
        _walk(bench, (16384, 131072), (16, 32, 56), (1, 2)),
        "attention alone; FlashAttention-2's kernel with one query a head, a tile of keys or values on its way in each block",
    )


@derives("lean-attention#2")
def most(bench: Bench) -> Finding:
    """The longest context, fewest heads."""
    bench.given("context", 524288)
    return over(
        _walk(bench, (524288,), (8, 16), (1,)), "attention alone, with as few heads as large models leave on a GPU"
    )
