"""Embeddings of a retrieval index in 8 bits, and with half of their dimensions: bytes a vector fall in proportion."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

_ID = "optimization-of-embeddings-storage-for-rag-systems-using-qua"


def _stored(bench: Bench, fmt: str, kept: float, why: str) -> Finding:
    bench.stated(format=fmt, dimensions=kept)
    return over([exactly(bench.bits("fp32") / (bench.bits(fmt) * kept))], why)


@derives(f"{_ID}#1")
def float8(bench: Bench) -> Finding:
    return _stored(bench, "fp8", 1.0, "32 bits over 8 a dimension")


@derives(f"{_ID}#3")
def float8_and_half(bench: Bench) -> Finding:
    return _stored(bench, "fp8", 0.5, "32 bits a dimension over 8 for each of half the dimensions")


@derives(f"{_ID}#4")
def int8(bench: Bench) -> Finding:
    return _stored(bench, "int8", 1.0, "32 bits over 8 a dimension")
