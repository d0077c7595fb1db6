"""Messages among equal ranks."""

from __future__ import annotations

from ...._foundation.expr import Expr
from ...._foundation.formats import bytes_per_element
from ....graph.ir import Message
from ..site import Site
from .template import number_format, size, template, tensor, word

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv")


@template(
    "messages", op=word("", *COLLECTIVES), ranks=size("devices that take part"),
    elements=size("of one rank: what is reduced, the gathered result, what is exchanged or sent"),
    dtype=number_format("of the elements"), x=tensor("what is sent"),
)  # fmt: skip
def collective(site: Site, op: str, ranks: Expr, elements: Expr, dtype: str, x: str | None) -> None:
    """A collective among ``ranks`` devices of the machine, or a message from one to the next.

    Bytes and steps: Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in MPICH, 2005, §4.
    """
    source = site.source(x, "x", elements, dtype)
    site.op(
        "collective", op, reads=[source], message=Message(op, ("ranks",), ranks, elements * bytes_per_element(dtype))
    )
