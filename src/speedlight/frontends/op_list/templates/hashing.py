"""Hash tables with open addressing."""

from __future__ import annotations

from ...._foundation.expr import Expr
from ...._foundation.formats import bytes_per_element
from ....graph.ir import Persistent, Tensor
from ..site import Site, scattered, streamed, vector
from .template import number_format, size, statistic, template, tensor

LOAD = "assumed: tables are grown before they fill"


@template(
    "hashing", n=size("entries"), key=number_format("the keys", "int64"), payload=size("bytes stored beside a key", 8),
    load=statistic("share of the slots that fill", 0.5, 0.9, LOAD, most=0.99), x=tensor("the keys"),
)  # fmt: skip
def hash_build(site: Site, n: Expr, key: str, payload: Expr, load: Expr, x: str | None) -> None:
    """Insert n entries one by one into an empty table of n/load slots.

    Filling to a share α takes ½·(1 + 1/(1 − α)) slots looked at per entry on average, by linear probing: Knuth, The Art of
    Computer Programming 3, §6.4, theorem K. Those slots lie side by side: one access at random, as wide as they are.
    """
    slot = 1 + payload / bytes_per_element(key)  # in keys
    looked = 0.5 * (1 + 1 / (1 - load))
    source = site.source(x, "keys", n, key)
    table = site.result(n / load * slot, key, cls="input")
    site.op(
        "gather", "hash_build", reads=[streamed(source, n * slot), scattered(table, n * looked * slot, looked * slot)],
        writes=[scattered(table, n * slot, slot)], work=[vector(n * (10 + 2 * looked), "int32")], dims={"rows": n},
    )  # fmt: skip


@template(
    "hashing", n=size("look-ups"), entries=size("entries in the table"), key=number_format("the keys", "int64"),
    payload=size("bytes stored beside a key", 8), load=statistic("share of the slots that are full", 0.5, 0.9, LOAD, most=0.99),
    hit=statistic("share of the look-ups that find their key", 0.0, 1.0, "every share there is", most=1.0),
    x=tensor("the keys looked up"), table=tensor("the table"),
)  # fmt: skip
def hash_probe(
    site: Site, n: Expr, entries: Expr, key: str, payload: Expr, load: Expr, hit: Expr, x: str | None, table: str | None
) -> None:  # fmt: skip
    """Look n keys up in a table of entries/load slots.

    At a load of α a hit looks at ½·(1 + 1/(1 − α)) slots, a miss at ½·(1 + 1/(1 − α)²): Knuth, The Art of Computer
    Programming 3, §6.4, theorem K. 10 integer operations hash a key, 2 compare a slot, assumed.
    """
    slot = 1 + payload / bytes_per_element(key)
    looked = 0.5 * (1 + hit / (1 - load) + (1 - hit) / (1 - load) ** 2)
    source = site.source(x, "keys", n, key)
    held = table or _table(site, entries / load * slot, key)
    site.op(
        "gather", "hash_probe", reads=[streamed(source, n), scattered(held, n * looked * slot, looked * slot)],
        writes=[site.result(n * slot, key)], work=[vector(n * (10 + 2 * looked), "int32")], dims={"rows": n},
    )  # fmt: skip


def _table(site: Site, elements: Expr, key: str) -> str:
    name = f"{site.name}.table"
    site.builder.tensors[name] = Tensor(name, elements, key, "index", Persistent(elements), needs_grad=False)
    return name
