"""Symbolic dimensions: small expressions over named symbols, compiled to a flat NumPy tape.

An :class:`Expr` is an immutable tree (``tokens * hidden / tp``). :func:`compile_tape` turns many of them at once into
a :class:`Tape` that shares every common subexpression and runs on floats or on broadcasting arrays alike, so that one
scenario and a million take the same path (DESIGN decision 1).

A *group sum* is the one construct beyond arithmetic: ``group_sum(e)`` evaluates ``e`` once for each sequence group of a
step, where the symbols ``count``, ``new`` and ``cached`` mean that group's, and adds the results (DESIGN decision 7).

Roads not taken: sympy (0.4 s to import, and simplification nobody asked for); generating Python source (15 % faster
to run than the tape on scalars, slower to build than a cold ``explain`` takes to run once).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Union

import numpy as np

from .arrays import Value
from .arrays import log2 as log2_of
from .arrays import maximum as maximum_of
from .arrays import minimum as minimum_of
from .arrays import where as where_of
from .errors import BadInput

Number = int | float
ExprLike = Union["Expr", int, float]

GROUP_SYMBOLS = frozenset({"count", "new", "cached"})


def _ceildiv(a: Value, b: Value) -> Value:
    return -(-a // b)


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "ceildiv": _ceildiv,
    "mod": operator.mod,
    "pow": operator.pow,
    "min": minimum_of,
    "max": maximum_of,
    "ge": operator.ge,
    "where": where_of,
    "log2": log2_of,
}
_NONE: frozenset[str] = frozenset()
_LEAVES = frozenset({"const", "sym", "gsum"})  # whose arguments are no nodes of the same tape
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "pow": "**"}


class Expr:
    """An immutable expression node. Build with :func:`sym`, numbers, operators and the functions of this module."""

    __slots__ = ("_hash", "_symbols", "args", "op")

    def __init__(self, op: str, args: tuple[Any, ...]) -> None:
        self.op = op
        self.args = args
        self._hash = hash((op, args))
        self._symbols: frozenset[str] | None = None  # once asked for

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Expr):
            return self.op == "const" and self.args[0] == other
        return self._hash == other._hash and self.op == other.op and self.args == other.args

    def __bool__(self) -> bool:
        raise TypeError("an Expr has no truth value: use where() and ge()")

    def __add__(self, other: ExprLike) -> Expr:
        return binary("add", self, other)

    def __radd__(self, other: ExprLike) -> Expr:
        return binary("add", other, self)

    def __sub__(self, other: ExprLike) -> Expr:
        return binary("sub", self, other)

    def __rsub__(self, other: ExprLike) -> Expr:
        return binary("sub", other, self)

    def __mul__(self, other: ExprLike) -> Expr:
        return binary("mul", self, other)

    def __rmul__(self, other: ExprLike) -> Expr:
        return binary("mul", other, self)

    def __truediv__(self, other: ExprLike) -> Expr:
        return binary("div", self, other)

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return binary("div", other, self)

    def __floordiv__(self, other: ExprLike) -> Expr:
        return binary("floordiv", self, other)

    def __mod__(self, other: ExprLike) -> Expr:
        return binary("mod", self, other)

    def __pow__(self, other: ExprLike) -> Expr:
        return binary("pow", self, other)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.op == "const":
            return repr(self.args[0])
        if self.op == "sym":
            return str(self.args[0])
        if self.op in _INFIX:
            return f"({self.args[0]} {_INFIX[self.op]} {self.args[1]})"
        return f"{self.op}({', '.join(str(a) for a in self.args)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Expr, (self.op, self.args))

    @property
    def constant(self) -> Number | None:
        """The value of a constant expression, else None."""
        return self.args[0] if self.op == "const" else None


@lru_cache(maxsize=4096, typed=True)
def const(value: Number) -> Expr:
    return Expr("const", (value,))


@lru_cache(maxsize=1024)
def sym(name: str) -> Expr:
    """A named symbol, bound when the tape runs."""
    return Expr("sym", (name,))


def as_expr(value: ExprLike) -> Expr:
    if isinstance(value, Expr):
        return value
    if isinstance(value, (bool, int, float, np.integer, np.floating)):
        number = value.item() if isinstance(value, (np.integer, np.floating)) else value
        return const(number)
    raise TypeError(f"cannot make an expression of {type(value).__name__}")


def binary(op: str, left: ExprLike, right: ExprLike) -> Expr:
    a = left if isinstance(left, Expr) else as_expr(left)
    b = right if isinstance(right, Expr) else as_expr(right)
    x = a.args[0] if a.op == "const" else None
    y = b.args[0] if b.op == "const" else None
    if x is not None and y is not None and not (y == 0 and op in ("div", "floordiv", "ceildiv", "mod")):
        return const(_OPERATIONS[op](x, y))
    if op in ("add", "sub") and y == 0:
        return a
    if op == "add" and x == 0:
        return b
    if op == "mul" and (x == 0 or y == 0):
        return const(0)
    if op == "mul" and x == 1:
        return b
    if op in ("mul", "div") and y == 1:
        return a
    return Expr(op, (a, b))


def ceildiv(a: ExprLike, b: ExprLike) -> Expr:
    """a / b rounded up."""
    return binary("ceildiv", a, b)


def minimum(a: ExprLike, b: ExprLike) -> Expr:
    return binary("min", a, b)


def maximum(a: ExprLike, b: ExprLike) -> Expr:
    return binary("max", a, b)


def ge(a: ExprLike, b: ExprLike) -> Expr:
    """1 where a ≥ b, else 0 (as truth values)."""
    return binary("ge", a, b)


def log2(a: ExprLike) -> Expr:
    """The logarithm to base 2 (levels of a tree, passes of a sort)."""
    e = as_expr(a)
    number = e.constant
    return const(math.log2(number)) if number is not None and number > 0 else Expr("log2", (e,))


def where(condition: ExprLike, a: ExprLike, b: ExprLike) -> Expr:
    """``a`` where the condition holds, else ``b``; both sides are evaluated (kernel choice is never an ``if``)."""
    c = as_expr(condition)
    if c.constant is not None:
        return as_expr(a) if c.constant else as_expr(b)
    return Expr("where", (c, as_expr(a), as_expr(b)))


def group_sum(body: ExprLike) -> Expr:
    """Σ over the step's sequence groups of ``body``, in which ``count``, ``new``, ``cached`` are the group's."""
    e = as_expr(body)
    if any(n.op == "gsum" for n in walk(e)):
        raise ValueError("group sums do not nest")
    return e * sym("groups") if not (symbols(e) & GROUP_SYMBOLS) else Expr("gsum", (e,))


def product(factors: Iterable[ExprLike]) -> Expr:
    result: Expr = const(1)
    for factor in factors:
        result = result * factor
    return result


def total(terms: Iterable[ExprLike]) -> Expr:
    result: Expr = const(0)
    for term in terms:
        result = result + term
    return result


def walk(expr: Expr) -> Iterator[Expr]:
    """Every node, each once, children before parents."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(expr, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        if node.op not in ("const", "sym"):
            stack.extend((arg, False) for arg in node.args)


def symbols(*exprs: Expr) -> frozenset[str]:
    """The names of all symbols, those of group sums' bodies included."""
    if len(exprs) == 1:
        return _symbols(exprs[0])
    return _NONE.union(*[_symbols(e) for e in exprs])


def _symbols(expr: Expr) -> frozenset[str]:
    """Remembered at every node, since expressions of one graph share most of theirs."""
    if expr._symbols is not None:
        return expr._symbols
    stack = [expr]
    while stack:
        node = stack[-1]
        if node._symbols is None:
            if node.op in ("const", "sym"):
                node._symbols = frozenset(node.args) if node.op == "sym" else _NONE
            else:
                waiting = [a for a in node.args if a._symbols is None]
                if waiting:
                    stack += waiting
                    continue
                found = _NONE
                for a in node.args:
                    if a._symbols and a._symbols is not found:
                        found = a._symbols if not found else found | a._symbols
                node._symbols = found
        stack.pop()
    assert expr._symbols is not None
    return expr._symbols


def substitute(expr: Expr, values: Mapping[str, ExprLike]) -> Expr:
    """Replace symbols; constants fold on the way. What names none of them stays as it is."""
    names = frozenset(values)
    done: dict[int, Expr] = {}
    stack = [expr]
    while stack:
        node = stack[-1]
        here = id(node)
        if here in done:
            stack.pop()
            continue
        if names.isdisjoint(_symbols(node)):
            done[here] = node
        elif node.op == "sym":
            done[here] = as_expr(values[node.args[0]])
        else:
            waiting = [a for a in node.args if id(a) not in done]
            if waiting:
                stack += waiting
                continue
            done[here] = _rebuild(node.op, tuple([done[id(a)] for a in node.args]))
        stack.pop()
    return done[id(expr)]


def _rebuild(op: str, args: tuple[Expr, ...]) -> Expr:
    if op == "gsum":
        return group_sum(args[0])
    if op == "where":
        return where(*args)
    if op == "log2":
        return log2(args[0])
    return binary(op, *args)


def evaluate(expr: ExprLike, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]] = ()) -> Value:
    """Evaluate one expression; for many at once compile a :class:`Tape`."""
    return compile_tape([as_expr(expr)]).run(env, groups)[0]


class Tape:
    """Many expressions as one list of instructions with every common subexpression shared.

    Attributes:
        symbols: names that :meth:`run` must find in its environment.
    """

    __slots__ = ("_inner", "_instructions", "_loads", "_outputs", "_size", "symbols")

    def __init__(self, exprs: Sequence[Expr]) -> None:
        bodies: dict[Expr, int] = {}
        inner_slots: list[int] = []
        of_node: dict[int, int] = {}  # by identity: most subexpressions are shared objects
        known: dict[tuple[Any, ...], int] = {}  # by operation and slots of its arguments: equal ones are one
        self._loads: list[tuple[int, str]] = []
        self._instructions: list[tuple[int, Callable[..., Value], tuple[int, ...]]] = []
        constants: list[tuple[int, Value]] = []
        for e in exprs:
            stack = [e]
            while stack:
                node = stack[-1]
                here = id(node)
                if here in of_node:
                    stack.pop()
                    continue
                op = node.op
                key: tuple[Any, ...]
                if op in _LEAVES:
                    key = (op, node.args[0])
                else:
                    waiting = [a for a in node.args if id(a) not in of_node]
                    if waiting:
                        stack += waiting
                        continue
                    key = (op, *[of_node[id(a)] for a in node.args])
                stack.pop()
                slot = known.get(key)
                if slot is None:
                    slot = known[key] = len(known)
                    if op == "const":
                        constants.append((slot, node.args[0]))
                    elif op == "sym":
                        self._loads.append((slot, node.args[0]))
                    elif op == "gsum":
                        bodies[node.args[0]] = len(bodies)
                        inner_slots.append(slot)
                    else:
                        self._instructions.append((slot, _OPERATIONS[op], key[1:]))
                of_node[here] = slot
        self._inner: Tape | None = Tape(list(bodies)) if bodies else None
        self._outputs = [of_node[id(e)] for e in exprs]
        self._size = (len(known), constants, inner_slots)
        inner_symbols = (self._inner.symbols - GROUP_SYMBOLS) if self._inner else frozenset()
        self.symbols: frozenset[str] = frozenset(name for _, name in self._loads) | inner_symbols

    @property
    def outputs(self) -> Sequence[int]:
        """Where each expression's value stands among :meth:`run_all`'s; equal expressions stand at one place."""
        return self._outputs

    def run(self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]] = ()) -> list[Value]:
        """Evaluate every expression.

        Args:
            env: symbol → float or array.
            groups: one mapping of ``count``, ``new``, ``cached`` per sequence group.

        Returns:
            one value per expression, in order.
        """
        cells = self.run_all(env, groups)
        return [cells[s] for s in self._outputs]

    def run_all(self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]] = ()) -> list[Value]:
        """Every value on the tape; those of the expressions stand at :attr:`outputs`."""
        size, constants, inner_slots = self._size
        cells: list[Value] = [None] * size
        for slot, value in constants:
            cells[slot] = value
        for slot, name in self._loads:
            try:
                cells[slot] = env[name]
            except KeyError:
                raise BadInput(f"the size {name!r} is not bound", hint=f"give a value for {name}") from None
        if self._inner is not None:
            sums: list[Value] | None = None
            for group in groups:
                values = self._inner.run({**env, **group})
                sums = values if sums is None else [a + b for a, b in zip(sums, values, strict=True)]
            for slot, value in zip(inner_slots, sums or [0.0] * len(inner_slots), strict=True):
                cells[slot] = value
        for slot, function, args in self._instructions:
            if len(args) == 2:
                cells[slot] = function(cells[args[0]], cells[args[1]])
            else:
                cells[slot] = function(*[cells[a] for a in args])
        return cells


def compile_tape(exprs: Iterable[ExprLike]) -> Tape:
    return Tape([as_expr(e) for e in exprs])
