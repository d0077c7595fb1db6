"""LUT-GEMM: equal bytes, different kernels.

OPT-175B in 3 bits is 65.6 GB: read once a token that is 32 ms on an 80 GB A100 for any kernel, so that bytes alone say 1.0. A kernel
that widens each weight by shifts, masks and a conversion pays for those on the vector unit; look-up tables need a look-up for eight
weights of one bit. The difference is kernel quality, bounded by how many operations a weight takes.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

WEIGHTS = 174.6e9  # OPT-175B without embeddings


@derives("lut-gemm#1")
def latency(bench: Bench) -> Finding:
    """Seconds a token, with weights widened one by one over from tables."""
    bench.stated(model="opt-175b", weights="int3", phase="decode")
    spans = []
    for name in bench.unstated("machine", ("a100-sxm-80gb",), "a GPU whose 80 GB hold 65.6 GB of weights"):
        machine = bench.machine(name)
        memory = bench.size(WEIGHTS * 3 / 8) / float(machine.main.bandwidth)
        peak, _ = machine.engine.peak("vector", "fp32", None)
        operations = float(peak.flops) / 2  # a multiply-add counts two FLOPs, a shift or a mask one operation
        for each in bench.unstated(
            "operations to widen a weight",
            (3, 6),
            "shift, mask, conversion and scaling; assumed, overlapped with the reads",
        ):
            before, after = max(memory, bench.size(WEIGHTS * each) / operations), memory
            spans.append(Span(before / after, before / after, before / after, before / after))
    return over(
        spans,
        "both kernels move the same 65.6 GB, for which bytes alone say 1.0: what is derived is widening on the vector unit. Kernel quality, not physics",
    )


@derives("lut-gemm#3")
def devices(bench: Bench) -> Finding:
    """GPUs that hold the model."""
    stated = bench.stated(model="opt-175b", weights="int3", phase="decode")
    spans = []
    for name in bench.unstated("machine", ("a100-sxm-80gb",), "the largest memory of the source's time"):
        answer = bench.ask(machine=name, batch=1, context=128, **stated)
        held = bench.memory(answer, "weights", "kv", "activations").value
        spans.append(exactly(float(-(-bench.size(held) // float(bench.machine(name).main.capacity_bytes)))))
    return over(spans, "weights in 3 bits with their scales, cache and activations over 80 GB, rounded up", more=False)
