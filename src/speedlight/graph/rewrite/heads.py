"""A model without its ends."""

from __future__ import annotations

from ..ir import Graph
from .registry import REWRITES


@REWRITES.register("bare")
def bare(graph: Graph) -> Graph:
    """A transformer without what turns its last hidden states into logits (``BertModel`` beside ``BertForMaskedLM``).

    Once bare, it stays as it is; so does a captured module, whose head is what its code returns.
    """
    if graph.attrs.get("bare") or graph.attrs.get("kind") != "transformer" or len(graph.blocks) < 2:
        return graph
    return graph.replace(blocks=graph.blocks[:-1], attrs={**graph.attrs, "bare": True})
