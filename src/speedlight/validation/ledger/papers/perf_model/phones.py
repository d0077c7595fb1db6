"""MELTing point: on phones and edge boards a sequence alone waits for memory, and bits of weights are what memory holds."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives


@derives("melting-point#1")
def bound(bench: Bench) -> Finding:
    """Least seconds of the memory over those of the matrix units, of a decode step."""
    spans = []
    for machine in bench.unstated("machine", ("iphone-13", "pixel-8", "jetson-agx-orin-64gb")):
        main = bench.machine(machine).main.resource
        for model in bench.unstated("model", ("tinyllama-1.1b", "gemma-2b")):
            step = bench.ask(model, machine, phase="decode", batch=1, context=512, weights="int4")
            others = max(float(v) for k, v in step.least.items() if k != main)
            spans.append(exactly(float(step.least[main]) / others))
    return over(spans, "seconds that the memory must work over those that any other part must")


@derives("melting-point#2")
def memory(bench: Bench) -> Finding:
    """Bytes of weights in 16 bits over those in four."""
    spans = []
    for model in bench.unstated("model", ("tinyllama-1.1b", "llama-2-7b")):
        wide, narrow = (float(bench.facts(model, **f)["weight_bytes"]) for f in ({}, {"weights": "int4"}))
        spans.append(Span(wide / narrow, wide / narrow, wide / narrow, 4.0))
    return over(spans, "bytes of weights")
