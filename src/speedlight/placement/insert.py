"""Messages inside a block: tensor parallelism with and without sequence parallelism, experts, context parallelism.

Operators fall into three sorts by the dimensions of what they touch:

* *token-wise*: no divided dimension. Every tensor-parallel rank has all of it, or, with sequence parallelism, its part of
  the tokens (Korthikanti et al., arXiv 2205.05198 §4.2.2);
* *divided*: heads, feed-forward widths or the vocabulary are split over tp; they need all tokens of the replica;
* *experts*: they need the tokens routed to the rank's experts, from all ranks that share the experts.

A tensor that goes from one sort to another changes its state (:mod:`.algebra`), and the message follows. Everything is
written over the mesh's symbols: one graph serves all degrees, a message's ``count`` is 0 where its axis is 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache

from .._foundation.expr import GROUP_SYMBOLS, Expr, ExprLike, const, ge, substitute, sym, symbols, where
from .._foundation.formats import bytes_per_element
from ..graph.grammar import check
from ..graph.ir import ONE, Block, Exchange, Graph, Message, Op, Operand, Tensor
from . import algebra
from .mesh import CARRIES, EP, ETP, ROUTED, SPANS, SPLIT, TP
from .patches import in_strips, strips

TP_ROLES = ("heads", "kv_heads", "ffn", "vocab", "expert_ffn", "state_heads")
EP_ROLES = ("experts",)
_EXPERT_ROLES = (*EP_ROLES, "expert_ffn")
_ATTENTION = {"sdpa": 1, "sdpa_backward": 2}
LOSSES = ("cross_entropy", "cross_entropy_backward")


@lru_cache(maxsize=64)
def insert_messages(
    graph: Graph, axes: frozenset[str] = frozenset(), local_loss: bool = False, keeps_gathered: bool = False
) -> Graph:
    """The graph with every message its layout needs.

    Args:
        axes: what the layout divides beyond tp (:func:`.mesh.axes`).
        local_loss: the loss is computed on each rank's part of the vocabulary, whose logits are never gathered.
        keeps_gathered: what the forward pass gathered for a product waits whole for the product's weights' gradient, instead of
            being gathered again.
    """
    if axes & {"ring", "gather", "ulysses"} and strips(graph):
        return in_strips(graph)
    if not graph.dims and not axes and not any(op.exchanges for _, op in graph.ops()):
        return graph  # a module that names nothing to divide
    blocks = tuple(_Placing(graph, block, axes, local_loss, keeps_gathered).block() for block in graph.blocks)
    saved = dict(graph.attrs.get("saved", {}))
    stays = ("routed", "whole") if keeps_gathered else ("routed",)  # experts' inputs stay where they were computed with
    for block in blocks:
        for name in saved.get(block.name, ()):
            there = tuple(f"{name}.{how}" for how in stays if f"{name}.{how}" in block.tensors)
            saved[block.name] = (*saved[block.name], *there)
    attrs = {**graph.attrs, "saved": saved} if saved else graph.attrs
    return check(graph.replace(blocks=blocks, attrs=attrs))


class _Placing:
    """One block under way."""

    def __init__(
        self, graph: Graph, block: Block, axes: frozenset[str], local_loss: bool, keeps_gathered: bool = False
    ) -> None:
        self.graph, self.source, self.axes, self.local_loss = graph, block, axes, local_loss
        mirrored = graph.attrs.get("mirrors", {}).get(block.name)
        self.kept = set(graph.attrs.get("saved", {}).get(mirrored, ())) if keeps_gathered and mirrored else set()
        self.divided = {n for n, d in graph.dims.items() if d.role in TP_ROLES and d.role not in _EXPERT_ROLES}
        self.expert = {n for n, d in graph.dims.items() if d.role in _EXPERT_ROLES}
        self.tensors: dict[str, Tensor] = dict(block.tensors)
        self.ops: list[Op] = []
        self.sent: set[tuple[str, str]] = set()  # tensors brought already, and for which sort of ops
        self.spread = bool(axes & {"sp", "experts"})
        self.context = bool(axes & {"ring", "ulysses", "gather"})
        heads = [n for n, d in graph.dims.items() if d.role in ("heads", "kv_heads", "state_heads")]
        cp = SPANS["cp"][0]
        self.whole = {"tokens": sym("tokens") * cp, **{n: sym(n) / cp for n in heads}}

    def block(self) -> Block:
        if self.context:
            for name, tensor in self.tensors.items():
                if _grouped(tensor.elements):
                    tensor = dataclasses.replace(tensor, elements=substitute(tensor.elements, self.whole))
                if tensor.cls == "kv" and tensor.persistent is not None:  # each rank keeps its part of every sequence
                    kept = dataclasses.replace(tensor.persistent, kept=tensor.persistent.kept / SPANS["cp"][0])
                    tensor = dataclasses.replace(tensor, persistent=kept)
                self.tensors[name] = tensor
        if self.spread:
            for name, tensor in self.tensors.items():
                self.tensors[name] = self._tensor(tensor)
        for op in map(self._attending, self.source.ops) if self.context else self.source.ops:
            sort = self._sort(op)
            if self.spread:
                for read in op.reads:
                    self._bring(op, read, sort)
            self.ops.append(self._op(op, sort) if self.spread else self._loss(op))
            for number, exchange in enumerate(op.exchanges):
                self._complete(op, exchange, number)
            if op.fn in _ATTENTION and self.context:
                self._context(op)
        return dataclasses.replace(self.source, ops=tuple(self.ops), tensors=self.tensors)

    # sorts -----------------------------------------------------------------------------------------------------------

    def _tensor_sort(self, tensor: Tensor) -> str:
        used = symbols(tensor.elements)
        return "expert" if used & self.expert else "divided" if used & self.divided else "token"

    def _sort(self, op: Op) -> str:
        sorts = {self._tensor_sort(self.graph.tensor(self.source, o.tensor)) for o in (*op.reads, *op.writes)}
        sorts |= (
            {"expert"} if any(o.elements is not None and symbols(o.elements) & self.expert for o in op.reads) else set()
        )
        return "expert" if "expert" in sorts else "divided" if "divided" in sorts else "token"

    def _tokens(self, sort: str) -> dict[str, Expr]:
        """What stands for the symbols of tokens in an expression of this sort."""
        if sort == "token":
            return {"tokens": sym("tokens") / SPLIT, "logits": sym("logits") / SPLIT}
        if sort == "expert":
            return {"tokens": sym("tokens") * EP * ETP / TP}
        return {}

    def _tensor(self, tensor: Tensor) -> Tensor:
        if tensor.cls not in ("activation", "input"):
            return tensor
        values = self._tokens(self._tensor_sort(tensor))
        return dataclasses.replace(tensor, elements=substitute(tensor.elements, values)) if values else tensor

    def _op(self, op: Op, sort: str) -> Op:
        """The op with its work and operands over the tokens it sees."""
        values = self._tokens(sort)

        def of(expr: Expr) -> Expr:
            return substitute(expr, values) if values else expr

        def operand(o: Operand) -> Operand:
            tensor = self.graph.tensor(self.source, o.tensor)
            own = self._tensor_sort(tensor)
            if o.elements is not None:
                return dataclasses.replace(o, elements=of(o.elements))
            if sort == "divided" and own == "token" and tensor.cls in ("activation", "input"):
                return dataclasses.replace(o, elements=tensor.elements)  # all tokens, before or after their message
            return o

        made = dataclasses.replace(
            op, reads=tuple(operand(o) for o in op.reads), writes=tuple(operand(o) for o in op.writes),
            work=tuple(
                dataclasses.replace(w, flops=of(w.flops), dense=None if w.dense is None else of(w.dense)) for w in op.work
            ),
            dims={name: of(e) for name, e in op.dims.items()}, span=of(op.span),
        )  # fmt: skip
        return self._loss(made)

    def _loss(self, op: Op) -> Op:
        """A loss over the vocabulary's parts reads what its rank has (Megatron-LM, arXiv 1909.08053 §3)."""
        if op.fn not in LOSSES or not self.local_loss:
            return op
        reads = tuple(
            dataclasses.replace(r, elements=None)
            if symbols(self.graph.tensor(self.source, r.tensor).elements) & self.divided
            else r
            for r in op.reads
        )
        return dataclasses.replace(op, reads=reads)

    def _attending(self, op: Op) -> Op:
        """Attention over whole sequences by as many heads as make its rank's share of the work: every rank has queries from the
        front and the end of each sequence, so that shares are equal (Llama 3, arXiv 2407.21783 §3.3.2)."""
        held = [self.graph.tensor(self.source, o.tensor).elements for o in (*op.reads, *op.writes)]
        own = [w.flops for w in op.work] + [o.elements for o in (*op.reads, *op.writes) if o.elements is not None]
        if not any(map(_grouped, (*held, *own, *op.dims.values()))):
            return op

        def of(expr: Expr) -> Expr:
            return substitute(expr, self.whole)

        def operand(o: Operand) -> Operand:
            return o if o.elements is None else dataclasses.replace(o, elements=of(o.elements))

        return dataclasses.replace(
            op, reads=tuple(map(operand, op.reads)), writes=tuple(map(operand, op.writes)),
            work=tuple(dataclasses.replace(w, flops=of(w.flops), dense=None if w.dense is None else of(w.dense)) for w in op.work),
            dims={name: of(e) for name, e in op.dims.items()}, span=of(op.span),
        )  # fmt: skip

    # messages --------------------------------------------------------------------------------------------------------

    def _bring(self, op: Op, read: Operand, sort: str) -> None:
        """Before an op: the tokens it needs and its rank has not."""
        tensor = self.graph.tensor(self.source, read.tensor)
        if tensor.cls not in ("activation", "input") or self._tensor_sort(tensor) != "token" or sort == "token":
            return
        if (read.tensor, sort) in self.sent or not symbols(tensor.elements) & {"tokens", "logits"}:
            return
        if sort == "divided" and read.tensor in self.kept:
            return
        if sort == "divided":
            whole = tensor.elements if read.elements is None else read.elements
            collective = algebra.message(algebra.SPLIT, algebra.WHOLE)
            assert collective is not None
            self.sent.add((read.tensor, sort))
            kept = self._temporary(f"{read.tensor}.whole", tensor, whole * where(ge(SPLIT, 2), const(1), const(0)))
            self._message(
                op, f"{read.tensor}.{collective}", collective, "tp", whole, tensor, SPLIT, kept=kept, size=SPLIT
            )
        elif self._travels(op, read):
            self.sent.add((read.tensor, sort))
            self._route(op, read.tensor, tensor, outwards=True)

    def _travels(self, op: Op, read: Operand) -> bool:
        """Whether an expert op's input is what tokens carry to experts: of the backward pass their gradients only, since what
        a weight's gradient needs stayed where the forward pass brought it."""
        if not any(self._tensor_sort(self.graph.tensor(self.source, w.tensor)) == "expert" for w in op.writes):
            return False
        if op.selection is None and not any(o.selection is not None for o in self.source.ops):
            return False
        made = {w.tensor: o for o in self.ops for w in o.writes}
        if self.source.phase != "backward":
            return read.tensor not in made or made[read.tensor].fn != "topk"
        here = read.tensor in self.source.inputs or read.tensor in made
        again = bool(op.attrs.get("recompute"))
        if op.fn.endswith("_wgrad") or not (here or again):
            return False
        return read.tensor not in made or made[read.tensor].fn != "topk"

    def _complete(self, op: Op, exchange: Exchange, number: int) -> None:
        """After an op: sums its rank has a term of, parts it has one of."""
        tensor = self.graph.tensor(self.source, exchange.tensor)
        roles = {self.graph.dims[d].role for d in exchange.dims}
        suffix = f".{number}" if number else ""
        whole = tensor.elements
        if exchange.kind == "gather":
            if not (self.local_loss and roles == {"vocab"}):
                self._message(op, f"{op.name}.all_gather{suffix}", "all_gather", "tp", whole * TP, tensor, TP)
            return
        experts = bool(roles & set(_EXPERT_ROLES))
        axis = "tp,ep" if roles & set(EP_ROLES) else "tp"
        stays = const(1) - ROUTED if experts and self.spread else const(1)
        if not self.spread:
            self._message(op, f"{op.name}.all_reduce{suffix}", "all_reduce", axis, whole, tensor, TP)
            return
        split = where(ge(SPLIT, 2), const(1), const(0))
        if not experts or roles - set(_EXPERT_ROLES):  # shared experts join the routed ones' sum over tp
            kept = self._temporary(f"{exchange.tensor}.terms{suffix}", tensor, whole * split)
            self._message(op, f"{op.name}.all_reduce{suffix}", "all_reduce", axis, whole, tensor, TP, times=1 - split)
            self._message(
                op,
                f"{op.name}.reduce_scatter{suffix}",
                "reduce_scatter",
                "tp",
                whole,
                tensor,
                TP,
                times=split,
                kept=kept,
            )
        elif experts:
            self._message(op, f"{op.name}.all_reduce{suffix}", "all_reduce", axis, whole, tensor, TP, times=stays)
        if experts and self._tensor_sort(tensor) == "token" and "expert_ffn" in roles:
            self._route(op, exchange.tensor, self._summed() or tensor, outwards=False, suffix=suffix)

    def _summed(self) -> Tensor | None:
        """What the last sum over a token's picks wrote: of experts in a narrower space, narrower than what the block hands on."""
        for op in reversed(self.ops):
            if op.kind != "reduction" or len(op.writes) != 1:
                continue
            read, made = ([self.graph.tensor(self.source, o.tensor) for o in side] for side in (op.reads, op.writes))
            if self._tensor_sort(made[0]) == "token" and any(self._tensor_sort(t) == "expert" for t in read):
                return made[0]
        return None

    def _route(self, op: Op, name: str, tensor: Tensor, *, outwards: bool, suffix: str = "") -> None:
        """Tokens to the ranks of their experts, or back: each rank's own, once for every expert picked."""
        chosen = next(o.selection for o in self.source.ops if o.selection is not None)
        sent = (
            tensor.elements * chosen.picks * chosen.busiest / TP
        )  # the exchange ends when the busiest rank has its rows
        label = f"{name}.{'dispatch' if outwards else 'combine'}{suffix}"
        gathered = sent * ETP
        kept = self._temporary(f"{name}.routed", tensor, gathered * ROUTED) if outwards else None
        self._message(op, label, "all_to_all", "ep", sent, tensor, EP, times=ROUTED, kept=kept, copies=chosen.picks)
        inside = "all_gather" if outwards else "reduce_scatter"
        self._message(op, f"{label}.{inside}", inside, "etp", gathered, tensor, ETP, times=ROUTED)
        if not outwards:  # without sequence parallelism every rank needs all tokens again
            whole = where(ge(SPLIT, 2), const(0), const(1))
            self._message(op, f"{label}.whole", "all_gather", "tp", tensor.elements, tensor, TP, times=ROUTED * whole)

    def _context(self, op: Op) -> None:
        """Attention over the tokens of other ranks.

        *ring*: keys and values go round, cp − 1 times; in the backward pass their gradients go with them (arXiv 2310.01889).
        *gather*: every rank gathers them; their gradients are reduced and scattered (Llama 3, arXiv 2407.21783 §3.3.2).
        *ulysses*: heads for tokens and back, all of q, k, v and the result (arXiv 2309.14509 §3.1).
        """
        cp = SPANS["cp"][0]
        tokens = sym("tokens") * cp  # of whole sequences, by this rank's share of the heads (:meth:`_attending`)
        key = self.graph.tensor(self.source, op.reads[1].tensor)
        times = _ATTENTION[op.fn]
        heads = op.dims["kv_heads"] * (op.dims["qk_dim"] + op.dims["v_dim"])
        pair = tokens * heads
        if "ring" in self.axes:
            self._message(op, f"{op.name}.ring", "send_recv", "cp", pair * times, key, cp, times=cp - 1)
        elif "gather" in self.axes:
            self._message(op, f"{op.name}.keys", "all_gather", "cp", pair * cp, key, cp)
            if times == 2:
                self._message(op, f"{op.name}.gradients", "reduce_scatter", "cp", pair * cp, key, cp)
        else:
            own = tokens * (op.dims["heads"] * (op.dims["qk_dim"] + op.dims["v_dim"])) + pair
            self._message(op, f"{op.name}.heads", "all_to_all", "cp", own, key, cp)

    def _temporary(self, name: str, like: Tensor, elements: Expr) -> str:
        self.tensors.setdefault(
            name, dataclasses.replace(like, name=name, elements=elements, cls="activation", persistent=None)
        )
        return name

    def _message(
        self, op: Op, name: str, collective: str, axis: str, elements: Expr, tensor: Tensor, degree: Expr, *,
        times: ExprLike = 1, kept: str | None = None, size: Expr | None = None, copies: Expr = ONE,
    ) -> None:  # fmt: skip
        axes = tuple(axis.split(","))
        ranks, stride = SPANS[axes[0]]
        ranks = ranks if size is None else size
        present = where(ge(degree, 2), const(1), const(0))
        sort = CARRIES[axes[0]]
        if f"packed {sort}" in self.axes:
            some = where(ge(sym(f"packs_{sort}"), const(1e-9)), const(1), const(0))
            self._pack(op, name, elements * sym(f"packs_{sort}"), tensor, op.count * present * times * some)
            elements = elements * sym(f"wire_{sort}")
        self.ops.append(
            Op(
                name=self._free(name), kind="collective", fn=collective, path=op.path, reads=(Operand(tensor.name),),
                writes=() if kept is None else (Operand(kept),),
                message=Message(
                    collective, axes, ranks, elements * bytes_per_element(tensor.dtype), ((ranks, stride),), copies
                ),
                count=op.count * present * times, phase=op.phase,
                attrs={"recompute": True} if op.attrs.get("recompute") else {},
            )
        )  # fmt: skip

    def _pack(self, op: Op, name: str, elements: Expr, tensor: Tensor, count: Expr) -> None:
        """What a rank reads and writes to make a payload smaller and whole again."""
        self.ops.append(
            Op(
                name=self._free(f"{name}.pack"), kind="quantize", fn="pack", path=op.path,
                reads=(Operand(tensor.name, elements),), count=count, phase=op.phase,
                attrs={"recompute": True} if op.attrs.get("recompute") else {},
            )
        )  # fmt: skip

    def _free(self, name: str) -> str:
        taken = {o.name for o in self.ops} | {o.name for o in self.source.ops}
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}#{number}"
        return free


def _grouped(expr: Expr) -> bool:
    """Whether it looks at single sequences: what attention does, and what it makes of them."""
    return bool(symbols(expr) & GROUP_SYMBOLS)


def sorts(graph: Graph) -> Mapping[str, str]:
    """Weights → ``dense`` or ``expert``, by the dimensions of their tensors: which copies sum their gradients."""
    expert = {n for n, d in graph.dims.items() if d.role in _EXPERT_ROLES}
    return {
        t.name: "expert" if symbols(t.elements) & expert else "dense"
        for b in graph.blocks for t in b.tensors.values() if t.cls == "weight"
    }  # fmt: skip
