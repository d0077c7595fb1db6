"""JPQ: embeddings as product-quantised codes, a byte for each group of dimensions."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("jointly-optimizing-query-encoder-and-product-quantization-to#1")
def index(bench: Bench) -> Finding:
    """768 dimensions in fp32 over one byte for each group of them."""
    found = []
    for groups in bench.unstated("codes a vector", (96, 128), "8-bit codes of 6 or 8 of BERT's 768 dimensions"):
        found.append(exactly(768 * bench.bits("fp32") / (groups * bench.bits("int8"))))
    return over(found, "bytes of a vector; the codebooks are shared by all of them")
