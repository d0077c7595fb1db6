"""LAMB: BERT's samples in few, large steps that fill a TPU pod.

BERT saw 256 million sequences: nine tenths of the steps at 128 tokens, one tenth at 512. Large batches see about as many.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

SEQUENCES = 256e6


def _seconds(bench: Bench, machine: str, chips: int, batches: tuple[int, int]) -> Span:
    bench.stated(model="bert-large")
    total = None
    for batch, length, share in ((batches[0], 128, 0.9), (batches[1], 512, 0.1)):
        step = bench.ask("bert-large", machine, phase="train", batch=batch, isl=length, dp=chips, dtype="bf16")
        steps = bench.size(SEQUENCES * share / batch)
        part = bench.time(step).mapped(lambda s, n=steps: s * n)  # type: ignore[misc]
        total = part if total is None else _sum(total, part)
    assert total is not None
    return total


def _sum(a: Span, b: Span) -> Span:
    bound = None if a.bound is None or b.bound is None else a.bound + b.bound
    return Span(a.low + b.low, a.value + b.value, a.high + b.high, bound)


@derives("large-batch-optimization-for-deep-learning#2")
def minutes(bench: Bench) -> Finding:
    """All sequences on a pod of 1,024 chips."""
    span = _seconds(bench, "tpu-v3-pod", 1024, (65536, 32768)).mapped(lambda s: s / 60)
    return over([span], "256 million sequences in steps of 65,536 and 32,768 on 1,024 TPU v3 chips", more=False)


@derives("large-batch-optimization-for-deep-learning#3")
def days(bench: Bench) -> Finding:
    """The same in steps of 256 on 16 chips."""
    span = _seconds(bench, "tpu-v3-pod", 16, (256, 256)).mapped(lambda s: s / 86400)
    return over([span], "256 million sequences in steps of 256 on 16 chips", more=False)
