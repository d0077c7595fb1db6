"""Where the model runs: mesh degrees, divided dimensions, inserted messages (DESIGN decision 8).

A dimension's *role* decides which mesh axis divides it and by which rule; everything else follows from the graph's own
expressions, since they are written over the dimensions' symbols. Legend: tp, ep degrees; an expert's width is divided by
tp/ep, so that tp · (what ep took) = the ranks that hold one copy of the model.

Every degree may be an array: ``tp ∈ {1, 2, 4, 8}`` is one evaluation, and a message's ``count`` is 0 where its axis is 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .._foundation.errors import BadInput, Unsupported
from .._foundation.expr import Expr, const, ge, sym, where
from ..graph.grammar import check
from ..graph.ir import Block, Dim, Exchange, Graph, Message, Op, Operand, Tensor
from ..scenario.scenario import Parallel

Value = Any


@dataclass(frozen=True, slots=True)
class RankClass:
    """Ranks that run the same program.

    Attributes:
        multiplicity: how many ranks.
        graph: their program, messages inserted.
        dims: values of the graph's dimensions and mesh axes on one such rank.
    """

    multiplicity: Value
    graph: Graph
    dims: Mapping[str, Value]


# Which mesh axis divides a role, and whether it may be copied where it does not divide.
TP_ROLES = ("heads", "kv_heads", "ffn", "vocab", "expert_ffn", "state_heads")
EP_ROLES = ("experts",)


def world(parallel: Parallel) -> Value:
    """Devices in use."""
    return parallel.tp * parallel.pp * parallel.dp * parallel.cp


def validate(parallel: Parallel) -> None:
    """Refuse degrees that are no positive whole numbers, and axes this version does not execute."""
    for field in dataclasses.fields(parallel):
        value = getattr(parallel, field.name)
        least = 0 if field.name == "zero" else 1
        array = np.asarray(value)
        if array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)) or np.any(array != np.floor(array)):
            raise BadInput(f"{field.name} is {value!r}", expected="a whole number")
        if np.any(array < least):
            raise BadInput(f"{field.name} is {value!r}", expected=f"at least {least}")
    for name, neutral in (("pp", 1), ("cp", 1), ("zero", 0)):
        if np.any(np.asarray(getattr(parallel, name)) != neutral):
            raise Unsupported(
                f"{name} {getattr(parallel, name)} is part of the file format but not executed by this version",
                expected=f"{name} {neutral}",
                hint="tensor (--tp) and expert (--ep) parallelism run today",
            )
    if np.any(np.asarray(parallel.tp) % np.asarray(parallel.ep)):
        raise BadInput(
            f"ep {parallel.ep} does not divide tp {parallel.tp}",
            expected="experts spread over the tensor-parallel ranks",
            hint=f"use --tp {np.max(parallel.ep)} or a smaller --ep",
        )


def place(graph: Graph, parallel: Parallel) -> list[RankClass]:
    """The program of each rank class: tensor and expert parallelism make all ranks alike, so there is one.

    Raises:
        BadInput: where a degree does not divide what it must, naming the nearest that does.
        Unsupported: for a captured module (it names no divisible dimensions) with tp > 1.
    """
    validate(parallel)
    if not graph.dims and np.any(np.asarray(parallel.tp) > 1):
        raise Unsupported(
            f"{graph.name} names no dimensions that tensor parallelism could divide",
            expected="--tp 1 for a captured module",
        )
    dims = {name: _divide(name, dim, parallel) for name, dim in graph.dims.items()}
    mesh = {"tp": parallel.tp, "ep": parallel.ep, "dp": parallel.dp, "pp": 1, "cp": 1}
    return [RankClass(world(parallel), _insert_messages(graph), {**dims, **mesh})]


def _divide(name: str, dim: Dim, parallel: Parallel) -> Value:
    degree = _degree(dim.role, parallel)
    if degree is None:
        return dim.size
    array = np.asarray(degree)
    if dim.role == "vocab":
        return _ceil(dim.size, degree)  # engines pad the vocabulary
    if dim.role == "kv_heads":
        bad = (dim.size % array != 0) & (array % dim.size != 0)
        _refuse(name, dim, array, bad)
        shared = dim.size / degree
        return np.maximum(shared, 1.0) if isinstance(shared, np.ndarray) else max(shared, 1.0)
    _refuse(name, dim, array, dim.size % array != 0)
    return dim.size / degree


def _degree(role: str, parallel: Parallel) -> Value | None:
    if role in EP_ROLES:
        return parallel.ep
    if role == "expert_ffn":
        return parallel.tp / parallel.ep
    return parallel.tp if role in TP_ROLES else None


def _ceil(size: int, degree: Value) -> Value:
    return -(-size // degree)


def _refuse(name: str, dim: Dim, degree: np.ndarray, bad: np.ndarray) -> None:
    if not np.any(bad):
        return
    value = int(np.ravel(degree)[np.argmax(np.ravel(np.broadcast_to(bad, degree.shape)))])
    divisors = [d for d in range(1, min(dim.size, 1024) + 1) if dim.size % d == 0]
    near = sorted(divisors, key=lambda d: abs(d - value))[:2]
    axis = "ep" if dim.role in EP_ROLES else "tp"
    raise BadInput(
        f"{axis} {value} does not divide {dim.size} {dim.role.replace('_', ' ')}",
        expected=f"a degree that divides {name} = {dim.size}",
        hint="nearest: " + " or ".join(str(d) for d in sorted(near)),
    )


@lru_cache(maxsize=64)
def _insert_messages(graph: Graph) -> Graph:
    """After each op that leaves partial sums or shards, the collective that completes them.

    A contraction over a divided dimension leaves partial sums on every rank (all-reduce); a result whose own dimension
    is divided and that the next op needs whole is gathered. Both are the "partial" and "split" states of a sharding
    algebra over one axis; dimensions of one role share it.
    """
    if not any(op.exchanges for _, op in graph.ops()):
        return graph
    return check(graph.replace(blocks=tuple(_with_messages(graph, block) for block in graph.blocks)))


def _with_messages(graph: Graph, block: Block) -> Block:
    ops: list[Op] = []
    tensors = dict(block.tensors)
    for op in block.ops:
        ops.append(op)
        for number, exchange in enumerate(op.exchanges):
            ops.append(_message_op(graph, block, op, exchange, number, tensors))
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _message_op(graph: Graph, block: Block, op: Op, exchange: Exchange, number: int, tensors: dict[str, Tensor]) -> Op:
    roles = {graph.dims[d].role for d in exchange.dims}
    size: Expr = sym("tp")  # experts spread inside the tp ranks: with ep, ep · tp/ep of them hold the partial sums
    axis = ("tp",) if not roles & set(EP_ROLES) else ("tp", "ep")
    tensor = tensors[exchange.tensor]
    payload = tensor.bytes
    collective = "all_reduce"
    if exchange.kind == "gather":
        collective = "all_gather"
        payload = payload * size
    suffix = f".{number}" if number else ""
    return Op(
        name=f"{op.name}.{collective}{suffix}",
        kind="collective",
        fn=collective,
        path=op.path,
        reads=(Operand(exchange.tensor),),
        writes=(),
        message=Message(collective, axis, size, payload),
        count=op.count * where(ge(size, 2), const(1), const(0)),
        phase=op.phase,
    )
