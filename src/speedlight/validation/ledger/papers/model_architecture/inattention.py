"""InAttention: tokens attend to initial states, so one state a token is cached instead of every layer's keys and values.

Memory grows with the context as the source says; so does that of an ordinary cache, only faster.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


@derives("inattention#1")
def growth(bench: Bench) -> Finding:
    spans = []
    contexts = (4096, 16384, 65536)
    for model in bench.unstated("model", ("llama-2-7b", "pythia-1.4b")):
        kept = []
        for context in contexts:
            answer = bench.ask(model, "h100-sxm-80gb", ["inattention"], phase="decode", batch=1, context=context)
            kept.append(float(answer.memory.by_class["kv"]))
        found = bench.slope(contexts, kept)
        spans.append(Span(found.value, found.value, found.value))
    return over(spans, "slope of cached bytes over contexts of 4 k to 64 k")
