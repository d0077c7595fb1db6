"""Nearest neighbours: all vectors, inverted lists, lists of compressed vectors, a graph."""

from __future__ import annotations

from ...._foundation.expr import Expr, const
from ...._foundation.formats import multiply_format
from ....graph.ir import Operand
from ..site import Site, matmul, scattered, streamed, vector
from .template import number_format, size, statistic, template, tensor

QUERIES = {"queries": size("at once"), "vectors": size("in the index"), "dim": size("of a vector")}
KEPT = size("neighbours returned", 10)
BALANCE = statistic(
    "vectors in the lists probed, over the mean list's", 1.0, 4.0,
    "derived: 1 where lists are equal; assumed: up to 4, since more queries fall into large lists",
)  # fmt: skip


def _top(site: Site, queries: Expr, candidates: Expr, k: Expr, distances: str) -> None:
    site.op(
        "sort", "topk", step="select", reads=[streamed(distances, queries * candidates)],
        writes=[site.result(queries * k, "fp32"), site.result(queries * k, "int64", "ids")],
        work=[vector(4 * queries * candidates)], dims={"rows": queries, "width": candidates},
    )  # fmt: skip


@template(
    "vector search",
    **QUERIES,
    k=KEPT,
    dtype=number_format("the vectors"),
    x=tensor("the queries"),
    index=tensor("the vectors"),
)
def search_flat(
    site: Site, queries: Expr, vectors: Expr, dim: Expr, k: Expr, dtype: str, x: str | None, index: str | None
) -> None:  # fmt: skip
    """Every vector compared with every query: one product and a selection.

    2·queries·vectors·dim FLOPs; the distances pass through memory. Johnson, Douze and Jégou, Billion-scale similarity search
    with GPUs, arXiv 1702.08734, §2.
    """
    source = site.source(x, "queries", queries * dim, dtype)
    held = site.source(index, "index", vectors * dim, dtype, "index")
    distances = site.result(queries * vectors, "fp32", "distances")
    site.op(
        "matmul", "mm", step="distances", reads=[source, held], writes=[distances],
        work=[matmul(2 * queries * vectors * dim, multiply_format(dtype))],
        dims={"m": queries, "n": vectors, "k": dim, "batch": 1}, attrs={"weights": dtype, "activations": dtype},
    )  # fmt: skip
    _top(site, queries, vectors, k, distances)


def _coarse(site: Site, queries: Expr, dim: Expr, lists: Expr, probes: Expr, dtype: str, source: str) -> None:
    """The lists nearest to each query: a product with all centroids, then a selection."""
    centroids = site.source(None, "centroids", lists * dim, dtype, "index")
    near = site.result(queries * lists, "fp32", "near")
    site.op(
        "matmul", "mm", step="coarse", reads=[source, centroids], writes=[near],
        work=[matmul(2 * queries * lists * dim, multiply_format(dtype))],
        dims={"m": queries, "n": lists, "k": dim, "batch": 1}, attrs={"weights": dtype, "activations": dtype},
    )  # fmt: skip
    site.op(
        "sort", "topk", step="probe", reads=[near], writes=[site.result(queries * probes, "int32", "probed")],
        work=[vector(4 * queries * lists)], dims={"rows": queries, "width": lists},
    )  # fmt: skip


@template(
    "vector search", **QUERIES, lists=size("inverted lists"), probes=size("lists a query looks through"), k=KEPT, balance=BALANCE,
    dtype=number_format("the vectors"), x=tensor("the queries"), index=tensor("the vectors"),
)  # fmt: skip
def search_ivf(
    site: Site, queries: Expr, vectors: Expr, dim: Expr, lists: Expr, probes: Expr, k: Expr, balance: Expr, dtype: str,
    x: str | None, index: str | None,
) -> None:  # fmt: skip
    """Vectors in lists by nearest centroid: the centroids, then the ``probes`` nearest lists of each query.

    2·queries·lists·dim + 2·queries·candidates·dim FLOPs, candidates = probes·vectors/lists·balance; a list is read as one run.
    Sivic and Zisserman, Video Google, ICCV 2003; Johnson et al., arXiv 1702.08734, §2.
    """
    source = site.source(x, "queries", queries * dim, dtype)
    _coarse(site, queries, dim, lists, probes, dtype, source)
    held = site.source(index, "index", vectors * dim, dtype, "index")
    run = vectors / lists * dim
    candidates = probes * vectors / lists * balance
    distances = site.result(queries * candidates, "fp32", "distances")
    site.op(
        "gather", "ivf_scan", step="scan", reads=[source, f"{site.name}.probed", scattered(held, queries * candidates * dim, run)],
        writes=[distances], work=[vector(2 * queries * candidates * dim)], dims={"rows": queries, "width": candidates},
    )  # fmt: skip
    _top(site, queries, candidates, k, distances)


@template(
    "vector search", **QUERIES, lists=size("inverted lists"), probes=size("lists a query looks through"),
    parts=size("codes of a vector"), bits=size("of a code", 8), k=KEPT, balance=BALANCE,
    dtype=number_format("queries and centroids"), x=tensor("the queries"),
)  # fmt: skip
def search_ivf_pq(
    site: Site, queries: Expr, vectors: Expr, dim: Expr, lists: Expr, probes: Expr, parts: Expr, bits: Expr, k: Expr, balance: Expr,
    dtype: str, x: str | None,
) -> None:  # fmt: skip
    """Inverted lists of product-quantised vectors: tables of distances, then one look-up and addition a code.

    A table costs 2·dim·2^bits FLOPs for each list probed; a candidate parts·bits/8 bytes and 2·parts operations. Jégou,
    Douze and Schmid, Product quantization for nearest neighbor search, TPAMI 33(1), 2011, §IV.
    """
    source = site.source(x, "queries", queries * dim, dtype)
    _coarse(site, queries, dim, lists, probes, dtype, source)
    entries = const(2) ** bits
    book = site.source(None, "codebook", entries * dim, dtype, "index")
    tables = site.result(queries * probes * parts * entries, "fp32", "tables")
    site.op(
        "elementwise", "pq_tables", step="tables", reads=[source, book], writes=[tables],
        work=[vector(2 * queries * probes * dim * entries)], dims={"rows": queries * probes, "width": parts * entries},
    )  # fmt: skip
    code = parts * bits / 8
    codes = site.source(None, "codes", vectors * code, "uint8", "index")
    candidates = probes * vectors / lists * balance
    distances = site.result(queries * candidates, "fp32", "distances")
    site.op(
        "gather", "pq_scan", step="scan", reads=[tables, scattered(codes, queries * candidates * code, vectors / lists * code)],
        writes=[distances], work=[vector(2 * queries * candidates * parts)], dims={"rows": queries, "width": candidates},
    )  # fmt: skip
    _top(site, queries, candidates, k, distances)


@template(
    "vector search", **QUERIES, degree=size("neighbours of a node on the lowest layer", 32), ef=size("nodes a query expands", 64),
    visited=statistic("vectors a query is compared with", "ef", "ef * degree",
                      "derived: at least those expanded, at most all their neighbours"),
    k=KEPT, dtype=number_format("the vectors"), x=tensor("the queries"), index=tensor("the vectors"),
)  # fmt: skip
def search_hnsw(
    site: Site, queries: Expr, vectors: Expr, dim: Expr, degree: Expr, ef: Expr, visited: Expr, k: Expr, dtype: str,
    x: str | None, index: str | None,
) -> None:  # fmt: skip
    """A walk over a graph of near neighbours: ``ef`` dependent steps, each reading a neighbour list and some vectors at random.

    2·dim FLOPs a comparison. The upper layers, log(vectors)/log(degree/2) steps, are not counted. Malkov and Yashunin,
    Efficient and robust approximate nearest neighbor search, arXiv 1603.09320, algorithm 2.
    """
    source = site.source(x, "queries", queries * dim, dtype)
    held = site.source(index, "index", vectors * dim, dtype, "index")
    links = site.source(None, "links", vectors * degree, "int32", "index")
    reads: list[str | Operand] = [
        source,
        scattered(links, queries * ef * degree, degree),
        scattered(held, queries * visited * dim, dim),
    ]
    writes = [site.result(queries * k, "fp32"), site.result(queries * k, "int64", "ids")]
    site.op("gather", "graph_walk", reads=reads, writes=writes, work=[vector(2 * queries * visited * dim)], span=2 * ef,
            dims={"rows": queries, "width": visited})  # fmt: skip
