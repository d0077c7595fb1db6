"""Sorting, selecting, scanning, counting."""

from __future__ import annotations

from ...._foundation.expr import Expr, ceildiv, log2, maximum
from ...._foundation.formats import number_format as format_of
from ....graph.ir import Operand
from ..site import Site, scattered, streamed, vector
from .template import number_format, size, template, tensor, word


@template(
    "ordering", n=size("keys"), key=number_format("the keys", "int32"), payload=size("bytes that travel with a key", 0),
    digit=size("bits sorted in one pass", 8), run=size("keys of one digit written side by side", 16), x=tensor("the keys"),
)  # fmt: skip
def radix_sort(site: Site, n: Expr, key: str, payload: Expr, digit: Expr, run: Expr, x: str | None) -> None:
    """Least-significant-digit radix sort: ⌈bits/digit⌉ passes that each read and write all keys, and one that counts digits.

    About 2·n memory operations a pass: Adinets and Merrill, Onesweep, arXiv 2206.01784. A pass ranks a key by matching its
    digit's bits among its neighbours: digit + 4 integer operations, assumed. Runs of 16 keys: 4,096 keys a tile over 2^8
    digits, assumed.
    """
    bits = format_of(key).bits
    passes = ceildiv(bits, digit)
    source = site.source(x, "keys", n, key)
    moved = n * (1 + payload / (bits / 8))  # keys with their payload, in keys
    between = site.result(moved, key, "between", cls="input")
    reads = [streamed(source, n + moved), streamed(between, moved * (passes - 1))]
    writes = [
        scattered(out, moved * share, run * moved / n)
        for out, share in ((site.result(moved, key), 1), (between, passes - 1))
    ]
    site.op(
        "sort", "radix_sort", reads=reads, writes=writes,
        work=[vector(n * passes * (digit + 4), "int32")], span=passes + 1, dims={"rows": n},
    )  # fmt: skip


@template(
    "ordering", n=size("keys"), key=number_format("the keys", "int32"), payload=size("bytes that travel with a key", 0),
    tile=size("keys sorted on the chip at once", 4096), ways=size("sorted runs merged at once", 2), x=tensor("the keys"),
)  # fmt: skip
def comparison_sort(site: Site, n: Expr, key: str, payload: Expr, tile: Expr, ways: Expr, x: str | None) -> None:
    """Merge sort: tiles on the chip, then ⌈log(n/tile)/log(ways)⌉ merges that each read and write everything.

    n·log2 n comparisons, the information-theoretic least to first order: Knuth, The Art of Computer Programming 3, §5.3.1;
    passes over memory: §5.4.
    """
    passes = ceildiv(log2(maximum(n / tile, 1)), log2(ways))
    moved = 1 + payload / (format_of(key).bits / 8)
    source = site.source(x, "keys", n, key)
    every = n * moved
    between = site.result(every, key, "between", cls="input")
    site.op(
        "sort", "merge_sort", reads=[streamed(source, every), streamed(between, every * passes)],
        writes=[streamed(site.result(every, key), every), streamed(between, every * passes)],
        work=[vector(n * log2(maximum(n, 2)), "int32")], span=passes + 1, dims={"rows": n},
    )  # fmt: skip


@template(
    "ordering", n=size("candidates of a row"), k=size("kept of a row"), rows=size("rows", 1), dtype=number_format("the values"),
    x=tensor("the candidates"),
)  # fmt: skip
def top_k(site: Site, n: Expr, k: Expr, rows: Expr, dtype: str, x: str | None) -> None:
    """The k largest of each row, with their places, in one pass.

    Selection takes a linear number of comparisons (Blum et al., 1973); 4 operations a candidate, a single read: Johnson et
    al., arXiv 1702.08734, §4.
    """
    source = site.source(x, "x", rows * n, dtype)
    site.op(
        "sort", "topk", reads=[streamed(source, rows * n)],
        writes=[site.result(rows * k, dtype), site.result(rows * k, "int32", "places")],
        work=[vector(4 * rows * n, "fp32")], dims={"rows": rows, "width": n},
    )  # fmt: skip


@template("ordering", n=size("elements"), dtype=number_format("of the elements"), x=tensor("the elements"))
def prefix_scan(site: Site, n: Expr, dtype: str, x: str | None) -> None:
    """All prefix sums in one pass: n reads, n writes, about 2·n additions.

    Merrill and Garland, Single-pass Parallel Prefix Scan with Decoupled Look-back, NVIDIA NVR-2016-002.
    """
    source = site.source(x, "x", n, dtype)
    site.op("scan", "prefix_scan", reads=[streamed(source, n)], writes=[site.result(n, dtype)], work=[vector(2 * n)],
            dims={"rows": n})  # fmt: skip


@template(
    "ordering", n=size("elements"), bins=size("counters"), dtype=number_format("of the elements", "int32"),
    private=word("whether each unit counts on its own and sums up at the end", "yes", "no"), x=tensor("the elements"),
)  # fmt: skip
def histogram(site: Site, n: Expr, bins: Expr, dtype: str, private: str, x: str | None) -> None:
    """Count elements by bin: one read of all; 2 integer operations each.

    Private counters stay on the chip and are written once; shared ones are read and written at random, a counter at a time
    (Podlozhnyuk, Histogram calculation in CUDA, NVIDIA 2007).
    """
    source = site.source(x, "x", n, dtype)
    counts = site.result(bins, "int32", cls="activation" if private == "yes" else "input")
    reads: list[str | Operand] = [streamed(source, n)]
    writes: list[str | Operand] = [counts]
    if private == "no":
        reads.append(scattered(counts, n, 1))
        writes = [scattered(counts, n, 1)]
    site.op("reduction", "histogram", reads=reads, writes=writes, work=[vector(2 * n, "int32")], dims={"rows": n})
