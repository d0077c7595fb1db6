"""Fine-tuning by forward passes: 4-bit weights and one layer's activations, nothing else."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("zeroth-order-fine-tuning-of-llms-with-extreme-sparsity#3")
def gigabytes(bench: Bench) -> Finding:
    """All a device holds."""
    bench.stated(model="llama-2-7b", weights="int4")
    spans = []
    for batch in bench.unstated("batch", (1, 16)):
        step = bench.ask(
            "llama-2-7b", "rtx-4090", ["zeroth-order:weights=int4"], phase="train", batch=batch, isl=256, dtype="bf16",
            stack="torch-eager",
        )  # fmt: skip
        spans.append(bench.memory(step).mapped(lambda x: x * bench.perturbed.sizes / 2**30))
    return over(spans, "weights in 4 bits, activations of one layer at a time, the runtime's own memory", more=False)
