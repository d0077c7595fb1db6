"""Amounts that make sense: every FLOP, byte and count of a graph at given sizes, checked where users wrote the formulas."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import numpy as np

from .._foundation.arrays import Value
from .._foundation.errors import BadInput
from .._foundation.expr import Expr, Tape, symbols
from .ir import Graph
from .stats import step_symbols


def check_amounts(graph: Graph, values: Mapping[str, Value]) -> None:
    """Refuse sizes at which a formula divides by zero or gives a negative or infinite amount, naming the op and its field.

    Args:
        values: of the graph's symbols, floats or arrays.
    """
    named = list(_amounts(graph))
    env = {**step_symbols(1, 1, 0), "caching": 0, "training": 0, **values}
    env = {k: float(v) if isinstance(v, (int, np.generic)) else v for k, v in env.items()}
    group = [{"count": 1.0, "new": 1.0, "cached": 0.0}]
    with np.errstate(all="ignore"):
        try:
            found = Tape([expr for _, expr in named]).run(env, group)
        except (ArithmeticError, ValueError, TypeError):
            found = [_alone(what, expr, env) for what, expr in named]
    for (what, expr), value in zip(named, found, strict=True):
        if isinstance(value, (int, float)) and 0 <= value <= sys.float_info.max:
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "iufb" or not np.all(np.isfinite(array)) or np.any(array < 0):
            raise _nonsense(
                what,
                expr,
                env,
                f"is {np.ravel(array)[np.argmax(~(np.ravel(array) >= 0))] if array.dtype.kind in 'iuf' else value}",
            )


def _alone(what: str, expr: Expr, env: Mapping[str, Value]) -> Value:
    try:
        return Tape([expr]).run(env)[0]
    except (ArithmeticError, ValueError, TypeError) as error:
        raise _nonsense(what, expr, env, f"cannot be worked out ({error})") from None


def _nonsense(what: str, expr: Expr, env: Mapping[str, Value], said: str) -> BadInput:
    at = ", ".join(f"{name} = {np.ravel(np.asarray(env[name]))[0]:g}" for name in sorted(symbols(expr)) if name in env)
    text = str(expr)
    shown = text if len(text) <= 120 else text[:117] + "…"
    return BadInput(f"{what} {said}: {shown}" + (f" at {at}" if at else ""), expected="a finite amount of at least 0")


def _amounts(graph: Graph) -> Iterator[tuple[str, Expr]]:
    """Every formula of the graph with the name of its place."""
    for block, op in graph.ops():
        place = f"{block.name}.{op.name}"
        for work in op.work:
            yield f"{place}: {work.unit} FLOPs", work.flops
            if work.dense is not None:
                yield f"{place}: dense FLOPs", work.dense
        yield f"{place}: count", op.count
        yield f"{place}: span", op.span
        for name, expr in op.dims.items():
            yield f"{place}: {name}", expr
        if op.message is not None:
            yield f"{place}: bytes", op.message.bytes
            yield f"{place}: ranks", op.message.size
            for size, stride in op.message.spans:
                yield f"{place}: ranks of an axis", size
                yield f"{place}: stride of an axis", stride
        for operand in (*op.reads, *op.writes):
            yield f"{place}: reuse of {operand.tensor}", operand.reuse
            if operand.elements is not None:
                yield f"{place}: elements of {operand.tensor}", operand.elements
            if operand.granule is not None:
                yield f"{place}: granule of {operand.tensor}", operand.granule
    for block in graph.blocks:
        yield f"{block.name}: count", block.count
        for tensor in block.tensors.values():
            yield f"{block.name}: elements of {tensor.name}", tensor.elements
    for tensor in graph.shared.values():
        yield f"elements of {tensor.name}", tensor.elements
