"""Blocks of zero weights skipped on a CPU: bytes and products fall with the share that is left, 1/(1 − s) at most."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...kernels import faster, kernel, ops
from ...registry import derives

SIZE = 32768  # so large that no cache holds the weights, sparse or dense


@derives("an-efficient-sparse-inference-software-accelerator-for-trans#3")
def product(bench: Bench) -> Finding:
    """A sparse product against the dense one."""
    spans = []
    for machine in bench.unstated(
        "machine", ("xeon-platinum-8280", "xeon-platinum-8380"), "Xeons with 8-bit dot products"
    ):
        for sparsity in bench.given("sparsity", (0.7, 0.8, 0.9)):
            for tokens in bench.unstated("tokens", (128, 1024)):
                source = ops(("gemm", {"m": tokens, "n": SIZE, "k": int(bench.size(SIZE))}), dtype="int8")
                before = kernel(bench, "one product", source, machine, stack="torch-eager")
                after = kernel(
                    bench,
                    "one product",
                    source,
                    machine,
                    [f"block-sparsity:kept={1 - sparsity:.3g}"],
                    stack="torch-eager",
                )
                spans.append(faster(before, after, 1 / (1 - sparsity)))
    return over(
        spans,
        "products and weight bytes of the blocks that are left, at the dense kernel's rate; activations and results move as before",
    )
