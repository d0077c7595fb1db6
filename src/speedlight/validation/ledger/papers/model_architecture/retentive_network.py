"""RetNet: retention has a recurrent form whose state is of one size, and a chunkwise form linear in the length."""

from __future__ import annotations

import numpy as np

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


@derives("retentive-network#1")
def decode(bench: Bench) -> Finding:
    """Slope of a step's seconds over the tokens before it."""
    bench.stated(model="retnet")
    contexts = (1024, 8192, 65536)
    spans = []
    for model in bench.unstated("size", ("retnet-3b", "retnet-7b")):
        answers = [bench.ask(model, "a100-sxm-80gb", phase="decode", batch=8, context=c) for c in contexts]
        times = [float(a.time) for a in answers]
        found = bench.slope(contexts, times)
        spans.append(Span(found.low, min(max(found.value, found.low), found.high), found.high))
    return over(
        spans,
        "seconds of a step with 1 k, 8 k and 64 k tokens behind it: the state is read and written, whatever the length",
    )


@derives("retentive-network#2")
def training(bench: Bench) -> Finding:
    """Slope of a prompt's work over its length, in the chunkwise form."""
    bench.stated(model="retnet")
    lengths = (2048, 8192, 32768)
    spans = []
    for model in bench.unstated("size", ("retnet-3b", "retnet-7b")):
        answers = [bench.ask(model, "a100-sxm-80gb", phase="train", batch=1, isl=n) for n in lengths]
        found = bench.slope(lengths, [float(a.flops) for a in answers])
        spans.append(Span(found.low, found.value, found.high))
    return over(spans, f"FLOPs of a training step over sequences of {', '.join(map(str, np.asarray(lengths)))} tokens")
