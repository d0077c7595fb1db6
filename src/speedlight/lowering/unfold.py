"""A model as its code is written: ops of a graph replaced by the calls the stack's rules name (``unfold`` in a stack file).

Frontends describe what must be computed: attention is one op, GELU another. Eager code computes it call by call, each result
through memory. The rules say which calls; the backward pass is then derived from those calls, as autograd derives it.

Legend: T tokens, H heads, d a head's width, S keys a sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache

from .._foundation.expr import Expr, group_sum, sym, total
from ..graph.builder import BlockBuilder
from ..graph.grammar import check
from ..graph.ir import ONE, Block, Exchange, Graph, Op, Operand, Persistent, Tensor, Work
from ..stacks.record import Stack, Unfold, UnfoldStep

_COUNT, _NEW, _CACHED = sym("count"), sym("new"), sym("cached")
_KINDS = {"bmm": "matmul", "softmax": "softmax", "copy": "copy"}


@lru_cache(maxsize=64)
def unfold(graph: Graph, stack: Stack, training: bool) -> Graph:
    """The forward graph as the stack's code runs it; the graph itself where no rule applies.

    Args:
        graph: a forward graph.
        stack: its ``unfold`` rules and ``merged_families``.
        training: calls that only training makes (dropout) are made.
    """
    family = str(graph.attrs.get("family", ""))
    merges = family in stack.merged_families
    if not stack.unfold and not merges:
        return graph
    blocks = []
    for block in graph.blocks:
        one = _merged(block) if merges else block
        blocks.append(_written_out(graph, one, stack, family, training))
    return check(graph.replace(blocks=tuple(blocks)))


# merged projections ----------------------------------------------------------------------------------------------------


def _merged(block: Block) -> Block:
    """Query, key and value projections of one attention as one linear layer; readers read their part of its result."""
    ops, tensors = list(block.ops), dict(block.tensors)
    for op in block.ops:
        if op.kind != "attention":
            continue
        sources = [r.tensor for r in op.reads[:3]]
        made = [o for o in ops if any(w.tensor in sources for w in o.writes)]
        if len(made) != 3 or any(o.fn != "linear" or o.exchanges for o in made):
            continue
        if len({(o.reads[0].tensor, len(o.reads)) for o in made}) != 1:
            continue
        ops = _joined(ops, tensors, made)
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _joined(ops: Sequence[Op], tensors: dict[str, Tensor], made: Sequence[Op]) -> list[Op]:
    first = made[0]
    name = f"{first.name.rpartition('.')[0]}.qkv_proj".lstrip(".")
    result = f"{name}.out"
    reads = [first.reads[0]]
    for place, what in enumerate(("weight", "bias")[: len(first.reads) - 1], start=1):
        parts = [tensors[o.reads[place].tensor] for o in made]
        size = total(t.elements for t in parts)
        there = parts[0].persistent.present if parts[0].persistent else ONE
        held = Persistent(size, present=there)
        tensors[f"{name}.{what}"] = Tensor(f"{name}.{what}", size, parts[0].dtype, "weight", held)
        reads.append(Operand(f"{name}.{what}"))
        for part in parts:
            del tensors[part.name]
    parts = [tensors[o.writes[0].tensor] for o in made]
    tensors[result] = dataclasses.replace(parts[0], name=result, elements=total(t.elements for t in parts))
    for part in parts:
        del tensors[part.name]
    sizes = {part.name: part.elements for part in parts}
    wide = dataclasses.replace(
        first, name=name, path=f"{first.path.rpartition('.')[0]}.qkv_proj", reads=tuple(reads), writes=(Operand(result),),
        work=tuple(dataclasses.replace(w, flops=total(o.work[i].flops for o in made)) for i, w in enumerate(first.work)),
        dims={**first.dims, "n": total(o.dims["n"] for o in made)},
    )  # fmt: skip

    def part_of(operand: Operand) -> Operand:
        if operand.tensor not in sizes:
            return operand
        return dataclasses.replace(operand, tensor=result, elements=operand.elements or sizes[operand.tensor])

    kept = []
    for op in ops:
        if op is first:
            kept.append(wide)
        elif op not in made:
            kept.append(dataclasses.replace(op, reads=tuple(part_of(r) for r in op.reads)))
    return kept


# calls -----------------------------------------------------------------------------------------------------------------


def _written_out(graph: Graph, block: Block, stack: Stack, family: str, training: bool) -> Block:
    ops: list[Op] = []
    tensors = dict(block.tensors)
    for op in block.ops:
        rule = next((u for u in stack.unfold if u.applies(op.fn, op.name, family)), None)
        steps = [s for s in rule.steps if training or not s.train] if rule is not None else []
        if rule is None or not _possible(graph, op):
            ops.append(op)
        else:
            ops += _calls(graph, block, op, rule, steps, tensors, () if training else op.reads[3:])
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _possible(graph: Graph, op: Op) -> bool:
    """Attention is written out where every query head has its own keys and values, all of them seen."""
    if op.kind != "attention":
        return True
    heads = [graph.dims[n].size for n in ("heads", "kv_heads") if n in graph.dims]
    own = op.attrs.get("window") or op.attrs.get("sparse")  # which needs a kernel of its own
    return len(set(heads)) == 1 and not own and {"qk_dim", "v_dim", "keys"} <= set(op.dims)


def _calls(
    graph: Graph, block: Block, op: Op, rule: Unfold, steps: Sequence[UnfoldStep], tensors: dict[str, Tensor],
    cached: Sequence[Operand],
) -> list[Op]:  # fmt: skip
    """The steps as ops; the last writes what the op wrote.

    Args:
        cached: what of earlier tokens an attention reads beside its operands: keys in one product, values in the other.
    """
    last = steps[-1]
    if last.fn == "=" and len(steps) == 1:
        return [op]
    output = op.writes[0].tensor
    names = ("q", "k", "v") if op.kind == "attention" else ("x",)
    operands: dict[str, Operand] = dict(zip(names, op.reads, strict=False))
    sizes: dict[str, Expr] = {n: _size(graph, block, r) for n, r in operands.items()}
    scores = op.dims["heads"] * group_sum(_COUNT * _NEW * (_CACHED + _NEW)) if op.kind == "attention" else None
    skipped = {s.out: s.of[0] for s in rule.steps if s not in steps}
    made: list[Op] = []
    for step in steps:
        of = [_through(name, skipped) for name in step.of]
        reads = [operands[name] for name in of]
        if op.kind == "attention" and step.fn == "bmm":
            reads += [dataclasses.replace(r, elements=_size(graph, block, r) * 0.5) for r in cached]
        square = scores is not None and step.fn == "bmm" and sizes[of[0]] is not scores
        size = scores if square and scores is not None else sizes[of[0]]
        if op.kind == "attention" and step.fn == "bmm" and not square:
            size = block.tensors[output].elements
        if op.kind != "attention" or step is last:
            size = block.tensors[output].elements if step is last or step.fn == "=" else size
        name = output if step is last else f"{op.name}.{step.out}.out"
        tensors[name] = dataclasses.replace(block.tensors[output], name=name, elements=size)
        if step.fn == "=":
            made.append(_itself(op, name))
        else:
            made.append(_call(op, step, reads, name, size, scores, square, tensors))
        operands[step.out], sizes[step.out] = Operand(name), size
    return made


def _through(name: str, skipped: Mapping[str, str]) -> str:
    while name in skipped:
        name = skipped[name]
    return name


def _size(graph: Graph, block: Block, operand: Operand) -> Expr:
    return operand.elements if operand.elements is not None else graph.tensor(block, operand.tensor).elements


def _itself(op: Op, output: str) -> Op:
    """The op, writing what the next call reads; ranks complete that."""
    exchanges = tuple(Exchange(e.kind, e.dims, output) for e in op.exchanges)
    return dataclasses.replace(op, writes=(Operand(output),), exchanges=exchanges)


def _call(
    op: Op, step: UnfoldStep, reads: Sequence[Operand], output: str, size: Expr, scores: Expr | None, square: bool,
    tensors: dict[str, Tensor],
) -> Op:  # fmt: skip
    dims: dict[str, Expr] = {}
    work = BlockBuilder.element_work(step.fn, size)
    writes = [Operand(output)]
    if step.fn == "bmm":
        dims, work = _product(op, square)
    elif step.fn == "softmax" and scores is not None:
        width = op.dims["keys"] / op.dims["seqs"]
        dims = {"rows": size / width, "width": width}
    elif step.fn == "dropout":  # its mask is kept for the backward pass
        mask = f"{output.removesuffix('.out')}.{step.out}.mask"
        tensors[mask] = Tensor(mask, size, "bool", "activation", None, False)
        writes.append(Operand(mask))
    return Op(
        name=f"{op.name}.{step.out}", kind=_KINDS.get(step.fn, "elementwise"), fn=step.fn, path=f"{op.path}.{step.out}",
        reads=tuple(reads), writes=tuple(writes), work=work, dims=dims, count=op.count, phase=op.phase,
    )  # fmt: skip


def _product(op: Op, square: bool) -> tuple[dict[str, Expr], tuple[Work, ...]]:
    """q·kᵀ (``square``) or weights·v of every head of every sequence; the whole square, masked or not."""
    d = op.dims
    new, keys = d["rows"] / d["seqs"], d["keys"] / d["seqs"]
    width = d["qk_dim"] if square else d["v_dim"]
    pairs = group_sum(_COUNT * _NEW * (_CACHED + _NEW))
    number = next(w.format for w in op.work if w.unit == "matmul")
    dims = {"m": new, "n": keys if square else width, "k": width if square else keys, "batch": d["seqs"] * d["heads"]}
    return dims, (Work("matmul", 2 * d["heads"] * width * pairs, number),)
