"""Recommendation: embedding tables and feature interaction."""

from __future__ import annotations

from ...._foundation.expr import Expr
from ...._foundation.formats import multiply_format
from ....graph.ir import Operand
from ..site import Site, matmul, scattered, vector
from .template import number_format, size, statistic, template, tensor, word


@template(
    "tables", rows=size("results (samples × tables)"), pooling=size("look-ups summed into a result", 1),
    width=size("elements of an entry"), entries=size("in all tables together"), home=word("where the tables are", "main", "host"),
    hit=statistic("share of the look-ups that a cache serves", 0.0, 0.9, "assumed: none, to most where few entries are popular", most=1.0),
    dtype=number_format("the tables"), index=number_format("the entries' numbers", "int64"),
    path=word("how entries of tables in the host's memory come", "zero-copy", "copied", "demand-paged"), table=tensor("the tables"),
)  # fmt: skip
def embedding_bag(
    site: Site, rows: Expr, pooling: Expr, width: Expr, entries: Expr, home: str, hit: Expr, dtype: str, index: str, path: str,
    table: str | None,
) -> None:  # fmt: skip
    """Look up ``pooling`` entries for each result and sum them: one access at random an entry, one addition an element.

    Naumov et al., Deep learning recommendation model, arXiv 1906.00091, §2.1. A hit is not read from the table's memory.
    """
    lookups = rows * pooling
    held = site.source(table, "table", entries * width, dtype, "weight", home)
    numbers = site.source(None, "index", lookups, index)
    reads: list[str | Operand] = [numbers, scattered(held, lookups * width * (1 - hit), width, path)]
    site.op("embedding", "embedding_bag", reads=reads, writes=[site.result(rows * width, dtype)], work=[vector(lookups * width)],
            dims={"rows": rows, "width": width})  # fmt: skip


@template(
    "tables", batch=size("samples"), features=size("vectors of a sample"), width=size("of a vector"), dtype=number_format("of all"),
    x=tensor("the vectors"),
)  # fmt: skip
def dot_interaction(site: Site, batch: Expr, features: Expr, width: Expr, dtype: str, x: str | None) -> None:
    """All pairs of dot products of a sample's vectors: 2·features²·width FLOPs a sample, half of the results kept.

    Naumov et al., arXiv 1906.00091, §2.1.
    """
    source = site.source(x, "x", batch * features * width, dtype)
    kept = batch * features * (features - 1) / 2
    site.op(
        "matmul", "bmm", reads=[source], writes=[site.result(kept, dtype)],
        work=[matmul(2 * batch * features * features * width, multiply_format(dtype))],
        dims={"m": features, "n": features, "k": width, "batch": batch}, attrs={"weights": dtype, "activations": dtype},
    )  # fmt: skip
