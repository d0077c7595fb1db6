"""Two-pass softmax: three reads and a write against two reads and a write.

Rows longer than the caches are bound by memory: 4·N elements moved against 3·N gives 4/3 at most; what exponentials cost beside it
takes the rest away, the more the narrower the vector unit.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...kernels import faster, kernel, ops
from ...registry import derives

MACHINES = ("i9-10940x", "xeon-platinum-8280")  # Skylake-X cores of a later stepping


def _gain(bench: Bench, machine: str, elements: int, vector: float) -> Span:
    source = ops(("normalize_rows", {"rows": 1, "width": elements, "fn": "softmax"}), dtype="fp32")
    changed = {} if vector == 1 else {"overrides": {"engines.cores.peaks": vector}}
    three, two = (
        kernel(bench, "a softmax", source, machine, [t], stack="torch-eager", **changed)
        for t in ("three-pass-softmax", "two-pass-softmax")
    )
    return faster(three, two, float(three.bytes / two.bytes)).mapped(lambda x: (x - 1) * 100)


def _walk(bench: Bench, vector: float) -> list[Span]:
    return [
        _gain(bench, machine, elements, vector)
        for machine in bench.unstated("machine", MACHINES, "Skylake-X; which is not stated")
        for elements in bench.unstated("elements", (2**26, 2**28), "out of cache")
    ]


@derives("the-two-pass-softmax-algorithm#1")
def avx512(bench: Bench) -> Finding:
    """Vectors of 512 bits."""
    return over(_walk(bench, 1.0), "three reads and a write against two and a write, all cores")


@derives("the-two-pass-softmax-algorithm#2")
def avx2(bench: Bench) -> Finding:
    """Vectors of 256 bits: half the rate."""
    bench.given("vectors", "256 of 512 bits")
    return over(
        _walk(bench, 0.5),
        "as with 512 bits at half the vector rate; one core, as a benchmark may have run, is bound by exponentials sooner",
    )
