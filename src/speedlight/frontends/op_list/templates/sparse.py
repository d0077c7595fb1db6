"""Sparse matrices in compressed rows, and message passing on graphs."""

from __future__ import annotations

from ...._foundation.expr import Expr, maximum
from ...._foundation.formats import multiply_format
from ....graph.ir import Operand
from ..site import Site, matmul, scattered, streamed, vector
from .template import number_format, size, statistic, template, tensor, word

INDICES = number_format("the column indices", "int32")


def _rows(site: Site, label: str, m: Expr, nnz: Expr, dtype: str, index: str) -> list[str | Operand]:
    """A matrix in compressed sparse rows: values, column indices, row starts."""
    return [
        site.source(None, f"{label}.values", nnz, dtype, "constant"),
        site.source(None, f"{label}.columns", nnz, index, "constant"),
        site.source(None, f"{label}.rows", m + 1, index, "constant"),
    ]


@template(
    "sparse", m=size("rows of A"), k=size("columns of A"), nnz=size("non-zeros of A"), dtype=number_format("values"),
    index=INDICES, x=tensor("the vector"),
)  # fmt: skip
def spmv(site: Site, m: Expr, k: Expr, nnz: Expr, dtype: str, index: str, x: str | None) -> None:
    """y = A·x with A in compressed sparse rows.

    2·nnz FLOPs; values, indices and row starts once, x an element at a time. Williams et al., Optimization of sparse
    matrix-vector multiplication on emerging multicore platforms, SC 2007.
    """
    source = site.source(x, "x", k, dtype)
    site.op(
        "gather", "spmv", reads=[*_rows(site, "a", m, nnz, dtype, index), scattered(source, nnz, 1)],
        writes=[site.result(m, dtype)], work=[vector(2 * nnz)], dims={"rows": m, "width": nnz},
    )  # fmt: skip


@template(
    "sparse", m=size("rows of A and C"), k=size("columns of A, rows of B"), n=size("columns of B and C"),
    nnz=size("non-zeros of A"), dtype=number_format("values"), index=INDICES, x=tensor("B"),
)  # fmt: skip
def spmm(site: Site, m: Expr, k: Expr, n: Expr, nnz: Expr, dtype: str, index: str, x: str | None) -> None:
    """C[m, n] = A[m, k] · B[k, n], A in compressed sparse rows, B dense.

    2·nnz·n FLOPs; for each non-zero one row of B, n elements side by side. Yang, Buluç and Owens, arXiv 1803.08601.
    """
    source = site.source(x, "x", k * n, dtype)
    site.op(
        "gather", "spmm", reads=[*_rows(site, "a", m, nnz, dtype, index), scattered(source, nnz * n, n)],
        writes=[site.result(m * n, dtype)], work=[vector(2 * nnz * n)], dims={"rows": m, "width": n},
    )  # fmt: skip


@template(
    "sparse", m=size("rows of A and B"), k=size("inner dimension"), n=size("columns of B"), nnz=size("entries wanted"),
    dtype=number_format("values"), index=INDICES, x=tensor("the left matrix"), y=tensor("the right matrix, transposed"),
)  # fmt: skip
def sddmm(
    site: Site, m: Expr, k: Expr, n: Expr, nnz: Expr, dtype: str, index: str, x: str | None, y: str | None
) -> None:  # fmt: skip
    """The entries (i, j) of X[m, k] · Y[n, k]ᵀ that a sparse pattern wants (attention on a graph's edges).

    2·nnz·k FLOPs; each entry reads a row of Y at random, rows of X come in order. Hong et al., Adaptive sparse tiling for
    sparse matrix multiplication, PPoPP 2019.
    """
    left, right = site.source(x, "x", m * k, dtype), site.source(y, "y", n * k, dtype)
    pattern: list[str | Operand] = [
        site.source(None, "columns", nnz, index, "constant"),
        site.source(None, "rows", m + 1, index, "constant"),
    ]
    site.op(
        "gather", "sddmm", reads=[*pattern, streamed(left, m * k), scattered(right, nnz * k, k)],
        writes=[site.result(nnz, dtype)], work=[vector(2 * nnz * k)], dims={"rows": nnz, "width": k},
    )  # fmt: skip


@template(
    "sparse", m=size("rows of A and C"), k=size("columns of A, rows of B"), n=size("columns of B and C"),
    nnz_a=size("non-zeros of A"), nnz_b=size("non-zeros of B"),
    products=statistic("multiplications", "nnz_a * nnz_b / k", "min(16 * nnz_a * nnz_b / k, nnz_a * n)",
                       "derived: rows and columns chosen alike; assumed: up to 16 times as many where they are skewed"),
    nnz=statistic("non-zeros of C", "products / 16", "min(products, m * n)",
                  "derived: no two products meet; assumed: up to 16 meet in one entry"),
    dtype=number_format("values"), index=INDICES,
)  # fmt: skip
def spgemm(
    site: Site, m: Expr, k: Expr, n: Expr, nnz_a: Expr, nnz_b: Expr, products: Expr, nnz: Expr, dtype: str, index: str
) -> None:  # fmt: skip
    """C = A·B, all three in compressed sparse rows, row by row.

    2 FLOPs a product; for each non-zero of A one row of B, nnz_b/k values and indices side by side; C is written once.
    Gustavson, Two fast algorithms for sparse matrices, ACM TOMS 4(3), 1978. 4 integer operations a product find its place in
    a hash table on the chip, assumed.
    """
    each = nnz_b / k
    values, columns, rows = _rows(site, "b", k, nnz_b, dtype, index)
    reads = [
        *_rows(site, "a", m, nnz_a, dtype, index), scattered(str(values), products, maximum(each, 1)),
        scattered(str(columns), products, maximum(each, 1)), scattered(str(rows), 2 * nnz_a, 2),
    ]  # fmt: skip
    writes = [site.result(nnz, dtype), site.result(nnz, index, "columns"), site.result(m + 1, index, "rows")]
    site.op(
        "gather", "spgemm", reads=reads, writes=writes, work=[vector(2 * products), vector(4 * products, "int32")],
        dims={"rows": m, "width": products / maximum(m, 1)},
    )  # fmt: skip


@template(
    "sparse", sites=size("active sites"), volume=size("offsets of the filter", 27), channels=size("of the input"),
    filters=size("channels of the output"),
    neighbours=statistic("active sites under a filter", "max(1, volume / 8)", "volume",
                         "derived: at most all offsets; assumed: at least an eighth of them, as on surfaces"),
    dtype=number_format("features and filters"), x=tensor("the sites' features"),
)  # fmt: skip
def sparse_conv(
    site: Site, sites: Expr, volume: Expr, channels: Expr, filters: Expr, neighbours: Expr, dtype: str, x: str | None
) -> None:  # fmt: skip
    """A convolution on the active sites of a grid (point clouds): one product for each offset, over the pairs that meet in it.

    2·pairs·channels·filters FLOPs, pairs = sites·neighbours; features are gathered by pair, results written once. Graham and
    van der Maaten, Submanifold sparse convolutional networks, arXiv 1706.01307.
    """
    pairs = sites * neighbours
    source = site.source(x, "x", sites * channels, dtype)
    reads: list[str | Operand] = [
        site.source(None, "pairs", 2 * pairs, "int32", "constant"), scattered(source, pairs * channels, channels),
        site.source(None, "weight", volume * channels * filters, dtype, "weight"),
    ]  # fmt: skip
    site.op(
        "conv", "sparse_conv", reads=reads, writes=[site.result(sites * filters, dtype)],
        work=[matmul(2 * pairs * channels * filters, multiply_format(dtype))],
        dims={"m": pairs / volume, "n": filters, "k": channels, "groups": volume},
    )  # fmt: skip


@template(
    "sparse", nodes=size("of the graph"), edges=size("of the graph"), width=size("features of a node"),
    fused=word("whether messages stay on the chip", "yes", "no"), weighted=word("whether edges carry a factor", "no", "yes"),
    dtype=number_format("features"), index=INDICES, x=tensor("the nodes' features"),
)  # fmt: skip
def message_passing(
    site: Site, nodes: Expr, edges: Expr, width: Expr, fused: str, weighted: str, dtype: str, index: str, x: str | None
) -> None:  # fmt: skip
    """Each node sums what its neighbours send: a gather along the edges and a reduction by target.

    Fused it is the sparse product of the adjacency matrix and the features (edges·width additions); else the messages,
    edges × width, are written and read once more. Wang et al., Deep Graph Library, arXiv 1909.01315, §3.
    """
    source = site.source(x, "x", nodes * width, dtype)
    pattern: list[str | Operand] = [site.source(None, "columns", edges, index, "constant")]
    factor = 2 if weighted == "yes" else 1
    if weighted == "yes":
        pattern.append(site.source(None, "values", edges, dtype, "constant"))
    rows = site.source(None, "rows", nodes + 1, index, "constant")
    work = [vector(factor * edges * width)]
    dims = {"rows": edges, "width": width}
    if fused == "yes":
        reads = [*pattern, rows, scattered(source, edges * width, width)]
        site.op(
            "gather", "message_passing", reads=reads, writes=[site.result(nodes * width, dtype)], work=work, dims=dims
        )
        return
    messages = site.result(edges * width, dtype, "messages")
    site.op("gather", "gather", step="gather", reads=[*pattern, scattered(source, edges * width, width)], writes=[messages],
            dims=dims)  # fmt: skip
    site.op("gather", "segment_sum", step="sum", reads=[messages, rows], writes=[site.result(nodes * width, dtype)], work=work,
            dims=dims)  # fmt: skip
