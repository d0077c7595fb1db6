"""A loss over the vocabulary computed for some rows at a time: logits and their gradients exist for one tile of rows only.

Gradients of a tile are made right after its loss (Liger kernel, arXiv 2410.10989, §3.2), so that nothing of it is kept for a
backward pass. What passes through memory is as before; what is held at once is one tile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import minimum
from ..builder import LOGITS
from ..ir import Graph, Op, Operand
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("tiled_loss")
def tiled_loss(graph: Graph, rows: int = 1024) -> Graph:
    """Logits that a cross entropy reads, and what it makes of them, are held for ``rows`` positions at a time.

    Args:
        rows: positions whose logits are there at once; 0 for all.
    """
    if rows < 0:
        raise BadInput(f"tiles of {rows} rows", expected="0 or more")
    if not rows:
        return graph

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        """From the loss back: what it reads is there a tile at a time, and whoever wrote that writes all of it in turn."""
        wide = {r.tensor for o in edit.block.ops if o.fn == "cross_entropy" for r in o.reads[:1]}
        wide |= {r.tensor for o in edit.block.ops if o.fn == "cast" and o.writes[0].tensor in wide for r in o.reads[:1]}
        named = [o.tensor for o in (*op.reads, *op.writes) if o.tensor in wide]
        if not named:
            return (op,)
        reads, writes = (
            tuple(_whole(edit, o) if o.tensor in named else o for o in own) for own in (op.reads, op.writes)
        )
        return (dataclasses.replace(op, reads=reads, writes=writes),)

    def _whole(edit: Edit, operand: Operand) -> Operand:
        tensor = edit.block.tensors[operand.tensor]
        tile = tensor.elements / LOGITS * minimum(LOGITS, rows)
        edit.tensors[operand.tensor] = dataclasses.replace(tensor, elements=tile)
        return operand if operand.elements is not None else dataclasses.replace(operand, elements=tensor.elements)

    marked = graph.attrs.get("tiled_loss")
    return graph if marked else _marked(edited(graph, visit), graph)


def _marked(changed: Graph, graph: Graph) -> Graph:
    return changed if changed is graph else changed.replace(attrs={**changed.attrs, "tiled_loss": True})


__all__ = ["tiled_loss"]
