"""A graph as plain data (numbers, strings, lists, dicts) and back, exactly; for files.

Only what differs from a record's default is written. Expressions keep their form: a number is itself, a symbol its
name, anything else ``[operator, argument …]``. Reading trusts nothing: unknown fields, wrong types and sizes beyond the
limits are one :class:`~.._foundation.errors.BadFile`, and the graph passes the grammar before anyone sees it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._foundation.errors import BadFile
from .._foundation.expr import Expr, const, sym
from .grammar import GrammarError, check
from .ir import Block, Dim, Exchange, Graph, Message, Op, Operand, Persistent, Selection, Tensor, Work

SCHEMA = 1
MOST_OPS = 200_000
MOST_TEXT = 4096
DEEPEST = 200
_ARITY = {
    "add": 2, "sub": 2, "mul": 2, "div": 2, "floordiv": 2, "ceildiv": 2, "mod": 2, "pow": 2, "min": 2, "max": 2, "ge": 2,
    "where": 3, "gsum": 1,
}  # fmt: skip


def to_plain(graph: Graph) -> dict[str, Any]:
    """The graph as plain data: JSON without loss.

    Raises:
        TypeError: for attributes that are no plain facts.
    """
    return {
        "schema": SCHEMA,
        "name": graph.name,
        "blocks": [_write(b) for b in graph.blocks],
        "shared": [_write(t) for t in graph.shared.values()],
        "dims": {name: _write(d) for name, d in graph.dims.items()},
        "symbols": dict(graph.symbols),
        "attrs": _write_facts(graph.attrs),
    }


def from_plain(data: Any) -> Graph:
    """The graph that :func:`to_plain` wrote.

    Raises:
        BadFile: for anything else.
    """
    try:
        if data["schema"] != SCHEMA:
            raise BadFile(f"a graph of schema {data['schema']!r}", expected=f"schema {SCHEMA}")
        if sum(len(b["ops"]) for b in data["blocks"]) > MOST_OPS:
            raise BadFile("a graph with too many ops", expected=f"at most {MOST_OPS}")
        shared = [_read(Tensor, t) for t in data["shared"]]
        graph = Graph(
            _text(data["name"]),
            tuple(_read(Block, b) for b in data["blocks"]),
            {t.name: t for t in shared},
            {_text(n): _read(Dim, d) for n, d in data["dims"].items()},
            {_text(n): None if v is None else _whole(v) for n, v in data["symbols"].items()},
            _read_facts(data["attrs"]),
        )
        return check(graph)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise BadFile(f"no graph of ours: {type(error).__name__} {error}"[:200], expected="a graph file") from None
    except GrammarError as error:
        raise BadFile(f"no sound graph: {error}"[:400], expected="a graph that Speedlight wrote") from None


def _write(record: Any) -> dict[str, Any]:
    """A record's fields that differ from their defaults."""
    written = {}
    for name, default, write, _ in _FIELDS[type(record)]:
        value = getattr(record, name)
        if default is _NONE or not _equal(value, default):
            written[name] = write(value)
    return written


def _read(cls: type, data: Any) -> Any:
    fields = _READERS[cls]
    return cls(**{name: fields[name](value) for name, value in data.items()})


def _equal(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _write_expr(e: Expr) -> Any:
    if e.op in ("const", "sym"):
        return _number(e.args[0]) if e.op == "const" else e.args[0]
    return [e.op, *[_write_expr(a) for a in e.args]]


def _read_expr(data: Any, depth: int = 0) -> Expr:
    """Nodes are made as they were, without folding, so that forms stay equal."""
    if isinstance(data, str):
        return sym(_text(data))
    if isinstance(data, list):
        if depth > DEEPEST or _ARITY.get(data[0]) != len(data) - 1:
            raise ValueError("an expression that is none of ours")
        return Expr(data[0], tuple(_read_expr(a, depth + 1) for a in data[1:]))
    return const(_number(data))


def _number(value: Any) -> int | float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e30:
        raise ValueError(f"{value!r} is no size")
    return value  # type: ignore[no-any-return]


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise TypeError("a name that is none")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _write_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _write_fact(value) for name, value in facts.items()}


def _write_fact(value: Any) -> Any:
    """Tuples, the usual case, as lists; the rarer kinds say what they are."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, tuple):
        return [_write_fact(v) for v in value]
    if isinstance(value, list):
        return {"list": [_write_fact(v) for v in value]}
    if isinstance(value, Mapping):
        return {"map": _write_facts(value)}
    if isinstance(value, Expr):
        return {"expr": _write_expr(value)}
    raise TypeError(f"an attribute of type {type(value).__name__} is no plain fact")


def _read_facts(data: Any) -> dict[str, Any]:
    return {_text(name): _read_fact(value) for name, value in data.items()}


def _read_fact(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read_fact(v) for v in value)
    if isinstance(value, dict):
        ((kind, inside),) = value.items()
        if kind == "list":
            return [_read_fact(v) for v in inside]
        return _read_facts(inside) if kind == "map" else {"expr": _read_expr}[kind](inside)
    return value


def _write_shares(pairs: Sequence[tuple[str, Any]]) -> list[Any]:
    return [[name, _write_expr(v) if isinstance(v, Expr) else v] for name, v in pairs]


def _many(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: [one(v) for v in values]


def _tuple(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: tuple(one(v) for v in values)


def _pair(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(values: Any) -> Any:
        first, second = values
        return one(first), one(second)

    return read


def _or_none(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else one(value)


_NONE: Any = object()
_EXPR = (_write_expr, _read_expr)
_TEXT = (_text, _text)
_TEXTS = (_many(_text), _tuple(_text))
_INT = (_whole, _whole)


def _records(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    return _many(_write), _tuple(lambda data: _read(cls, data))


def _record(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    return _or_none(_write), _or_none(lambda data: _read(cls, data))


def _optional(codec: tuple[Callable[[Any], Any], Callable[[Any], Any]]) -> tuple[Any, Any]:
    return _or_none(codec[0]), _or_none(codec[1])


_CODECS: dict[type, dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    Dim: {"size": _INT, "role": _TEXT},
    Persistent: {
        "kept": _EXPR, "lifetime": _TEXT, "rebuild": _optional(_EXPR), "present": _EXPR,
        "homes": (_write_shares, _tuple(lambda p: (_text(p[0]), float(_number(p[1]))))),
    },
    Tensor: {
        "name": _TEXT, "elements": _EXPR, "dtype": _TEXT, "cls": _TEXT, "persistent": _record(Persistent),
        "needs_grad": (_flag, _flag),
    },
    Operand: {
        "tensor": _TEXT, "elements": _optional(_EXPR), "access": _TEXT, "granule": _optional(_EXPR), "path": _TEXT,
        "reuse": _EXPR, "lag": _INT,
    },
    Work: {"unit": _TEXT, "flops": _EXPR, "format": _TEXT, "accumulate": _optional(_TEXT), "dense": _optional(_EXPR)},
    Selection: {
        "items": _EXPR, "picks": _EXPR, "distribution": _TEXT,
        "layers": (list, _tuple(lambda v: float(_number(v)))), "busiest": _EXPR,
    },
    Exchange: {"kind": _TEXT, "dims": _TEXTS, "tensor": _TEXT},
    Message: {
        "collective": _TEXT, "axis": _TEXTS, "size": _EXPR, "bytes": _EXPR,
        "spans": (_many(_many(_write_expr)), _tuple(_pair(_read_expr))), "copies": _EXPR,
    },
    Op: {
        "name": _TEXT, "kind": _TEXT, "fn": _TEXT, "path": _TEXT, "reads": _records(Operand), "writes": _records(Operand),
        "work": _records(Work), "count": _EXPR, "span": _EXPR, "exchanges": _records(Exchange),
        "dims": (lambda d: {n: _write_expr(e) for n, e in d.items()}, lambda d: {_text(n): _read_expr(e) for n, e in d.items()}),
        "selection": _record(Selection),
        "participation": (_write_shares, _tuple(lambda p: (_text(p[0]), _read_expr(p[1])))),
        "period": _INT, "message": _record(Message), "attrs": (_write_facts, _read_facts), "phase": _TEXT,
        "engine": _optional(_TEXT),
    },
    Block: {
        "name": _TEXT, "ops": _records(Op), "count": _EXPR, "inputs": _TEXTS, "outputs": _TEXTS,
        "tensors": (lambda d: [_write(t) for t in d.values()], lambda d: {t.name: t for t in (_read(Tensor, x) for x in d)}),
        "layers": (_many(_whole), _tuple(_whole)), "phase": _TEXT,
    },
}  # fmt: skip


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else _NONE


_FIELDS: dict[type, list[tuple[str, Any, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    cls: [(f.name, _default(f), *codecs[f.name]) for f in dataclasses.fields(cls)] for cls, codecs in _CODECS.items()
}
_READERS = {cls: {name: codec[1] for name, codec in codecs.items()} for cls, codecs in _CODECS.items()}

__all__ = ["SCHEMA", "from_plain", "to_plain"]
