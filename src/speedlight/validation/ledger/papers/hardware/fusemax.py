"""FuseMax: attention in one pass over a 256 × 256 array for products and a row of 256 for vectors.

FLAT leaves the softmax to the vector row: per score some operations on 256 lanes, against the products' 2·E on 65,536. With the
exponential on the large array and one correction a row and tile, both arrays are busy all the time.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

LARGE, ROW = 65536.0, 256.0
EXPONENTIAL = 6.0  # multiply-adds of a polynomial


def _times(bench: Bench) -> Iterator[tuple[float, float]]:
    """Cycles a score: (FLAT, FuseMax)."""
    for width in bench.unstated("head width", (64.0, 128.0)):
        for ops in bench.unstated(
            "vector operations a score in FLAT",
            (4.0, 6.0),
            "largest, difference, exponential on a unit of its own, sum, division",
        ):
            for own in bench.unstated(
                "vector operations a score in FuseMax", (1.0, 1.5), "largest and sum, shared with the large array"
            ):
                products = 2.0 * bench.size(width) / LARGE
                yield max(products, ops / ROW), max(products + EXPONENTIAL / LARGE, own / ROW)


@derives("fusemax#1")
def attention(bench: Bench) -> Finding:
    return over(
        [exactly(flat / fused) for flat, fused in _times(bench)], "cycles a score of the busier array, before and after"
    )


@derives("fusemax#3")
def model(bench: Bench) -> Finding:
    """At long sequences attention is most of a model."""
    spans = []
    for share in bench.unstated("attention's part of FLAT's time", (0.9, 0.97)):
        spans += [exactly(1 / (1 - share + share * fused / flat)) for flat, fused in _times(bench)]
    return over(spans, "Amdahl on attention's part")


@derives("fusemax#5")
def utilisation(bench: Bench) -> Finding:
    spans = []
    for width in bench.unstated("head width", (64.0, 128.0)):
        work = 2.0 * width / LARGE
        spans.append(exactly(100 * bench.size(work + EXPONENTIAL / LARGE) / max(work + EXPONENTIAL / LARGE, 0.5 / ROW)))
    return over(spans, "busy cycles of the large array over all, with the row's work below the large array's")
