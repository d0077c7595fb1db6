"""Named graph rewrites a question may ask for (``Rewrite`` of a scenario)."""

from __future__ import annotations

from collections.abc import Callable

from .._foundation.errors import BadInput
from .._foundation.registry import Registry
from .ir import Graph

REWRITES: Registry[Callable[[Graph], Graph]] = Registry("graph rewrite", "speedlight.graph_rewrites")


@REWRITES.register("bare")
def bare(graph: Graph) -> Graph:
    """A transformer without what turns its last hidden states into logits (``BertModel`` beside ``BertForMaskedLM``).

    Raises:
        BadInput: for a graph that is one block, which has nothing to leave out.
    """
    if len(graph.blocks) < 2:
        raise BadInput(f"{graph.name} is one block", expected="a model built from its configuration, with a head")
    return graph.replace(blocks=graph.blocks[:-1])
