"""Fixing symbols of a block: the same ops with some sizes no longer free."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..._foundation.expr import Expr, ExprLike, substitute
from ...graph.ir import Block, Op, Operand, Persistent, Tensor, Work


def bind(block: Block, values: Mapping[str, ExprLike]) -> Block:
    """The block with these symbols replaced everywhere."""

    def fixed(expr: Expr) -> Expr:
        return substitute(expr, values)

    def maybe(expr: Expr | None) -> Expr | None:
        return None if expr is None else fixed(expr)

    def operand(o: Operand) -> Operand:
        return dataclasses.replace(o, elements=maybe(o.elements), granule=maybe(o.granule), reuse=fixed(o.reuse))

    def work(w: Work) -> Work:
        return dataclasses.replace(w, flops=fixed(w.flops), dense=maybe(w.dense))

    def op(o: Op) -> Op:
        return dataclasses.replace(
            o, reads=tuple(operand(r) for r in o.reads), writes=tuple(operand(w) for w in o.writes),
            work=tuple(work(w) for w in o.work), dims={k: fixed(v) for k, v in o.dims.items()}, count=fixed(o.count),
            span=fixed(o.span),
        )  # fmt: skip

    def tensor(t: Tensor) -> Tensor:
        kept = t.persistent
        if kept is not None:
            kept = Persistent(fixed(kept.kept), kept.lifetime, kept.homes, maybe(kept.rebuild))
        return dataclasses.replace(t, elements=fixed(t.elements), persistent=kept)

    return dataclasses.replace(
        block, ops=tuple(op(o) for o in block.ops), tensors={k: tensor(t) for k, t in block.tensors.items()},
        count=fixed(block.count),
    )  # fmt: skip
