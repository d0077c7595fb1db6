"""A model without its ends."""

from __future__ import annotations

from ..._foundation.errors import BadInput
from ..ir import Graph
from .registry import REWRITES


@REWRITES.register("bare")
def bare(graph: Graph) -> Graph:
    """A transformer without what turns its last hidden states into logits (``BertModel`` beside ``BertForMaskedLM``).

    Once bare, it stays as it is.

    Raises:
        BadInput: for a graph that is one block, which has nothing to leave out.
    """
    if graph.attrs.get("bare"):
        return graph
    if len(graph.blocks) < 2:
        raise BadInput(f"{graph.name} is one block", expected="a model built from its configuration, with a head")
    return graph.replace(blocks=graph.blocks[:-1], attrs={**graph.attrs, "bare": True})
