"""Only some neurons of a feed-forward layer run for a token: which ones depends on the token (contextual sparsity)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, const
from ..builder import TOKENS
from ..ir import Graph, Op, Operand, Persistent, Selection, Tensor, Work
from .edit import Edit, edited
from .held import matrix_of, spans
from .registry import REWRITES


@REWRITES.register("active_neurons")
def active_neurons(graph: Graph, share: float = 0.5, dense: str = "gate_proj", rank: int = 0) -> Graph:
    """Feed-forward layers read and multiply only the rows of the neurons their tokens choose.

    Tokens choose independently, so a batch reads the union of its tokens' neurons, 1 − (1 − share)^tokens of them all
    (:meth:`..ir.Selection.distinct`): what one token saves, a batch gives back. Matrix units multiply whole tiles of tokens, so
    the products are those of the union too.

    Args:
        share: of the neurons that run for a token.
        dense: a layer that runs whole, because the choice is made from its result; empty for none.
        rank: of a predictor beside the layer (two thin products, hidden → rank → neurons); 0 for none.

    Raises:
        BadInput: for a share outside 0 … 1.
    """
    if not 0 < share <= 1:
        raise BadInput(f"{share!r} of the neurons", expected="a share above 0, up to 1")
    if share == 1 or graph.attrs.get("active_neurons"):
        return graph
    predicted: set[str] = set()

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        position = matrix_of(graph, edit.block, op)
        if position is None or op.kind != "matmul" or op.name.rpartition(".")[2] == dense:
            return (op,)
        outer, inner = spans(graph, op.dims.get("n"), "ffn"), spans(graph, op.dims.get("k"), "ffn")
        if outer == inner:
            return (op,)
        before: list[Op] = []
        if outer and rank and edit.block.name not in predicted:
            predicted.add(edit.block.name)
            before = _predictor(edit, op, rank)
        return (*before, _chosen(op, position, "n" if outer else "k", share))

    return edited(graph, visit, lambda b: b.phase == "forward").replace(
        attrs={**graph.attrs, "active_neurons": share}
    )  # fmt: skip


def _chosen(op: Op, position: int, along: str, share: float) -> Op:
    """The product over the neurons that any token chose."""
    neurons = op.dims[along]
    rows = op.dims["k" if along == "n" else "n"]
    selection = Selection(neurons, neurons * share)
    touched = selection.distinct(TOKENS)
    union = touched / neurons
    reads = tuple(
        dataclasses.replace(r, elements=touched * rows, access="random", granule=rows) if i == position else r
        for i, r in enumerate(op.reads)
    )
    work = tuple(
        dataclasses.replace(w, flops=w.flops * union, dense=w.dense or w.flops) if w.unit == "matmul" else w
        for w in op.work
    )
    return dataclasses.replace(op, reads=reads, work=work, dims={**op.dims, along: touched}, selection=selection)


def _predictor(edit: Edit, op: Op, rank: int) -> list[Op]:
    source, r = op.reads[0], const(rank)
    m, n, k = op.dims["m"], op.dims["n"], op.dims["k"]
    number = edit.tensor(source.tensor).dtype

    def linear(name: str, reads: Operand, out: Expr, inner: Expr) -> Op:
        weight = f"{op.name}.{name}.weight"
        edit.tensors[weight] = Tensor(weight, out * inner, number, "weight", Persistent(out * inner))
        result = edit.activation(f"{op.name}.{name}.out", m * out, number)
        return edit.op(
            f"{op.name}.{name}", "matmul", "linear", op, reads=(reads, Operand(weight)), writes=(Operand(result),),
            work=(Work("matmul", 2 * m * out * inner, number),), dims={"m": m, "n": out, "k": inner, "batch": const(1)},
            attrs={"weights": number, "activations": number},
        )  # fmt: skip

    first = linear("predict_in", source, r, k)
    return [first, linear("predict_out", Operand(first.writes[0].tensor), n, r)]
