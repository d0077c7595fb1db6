"""Folds the small integer arithmetic of shapes: ``Shape → Gather → Mul → Concat`` becomes numbers before anything is priced.

A value is a NumPy array of at most :data:`MOST` numbers, of dtype object where sizes that follow the batch stand in it.
Larger constants are tensors without values. What cannot be folded stays an op, or :class:`Unsized` where its own size
hangs on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .sizes import Poly, Size, Varies, sign

if TYPE_CHECKING:
    from .node import Node

MOST = 4096
MOST_FREE = 64  # of numbers among which a size follows the batch: those are handled one by one

Array = np.ndarray
Fold = Callable[["Node", list[Array]], "Array | list[Array]"]


class Unsized(Exception):
    """A size hangs on data, or on an op nobody knows."""


def array(items: Sequence[Any] | Size, dtype: Any = None) -> Array:
    """An array of sizes or numbers."""
    if isinstance(items, (list, tuple)) and any(isinstance(i, Poly) for i in items):
        made = np.empty(len(items), dtype=object)
        made[:] = items
        return made
    if isinstance(items, Poly):
        single = np.empty((), dtype=object)
        single[()] = items
        return single
    return np.asarray(items, dtype=np.int64 if dtype is None else dtype)


def tidy(found: Array) -> Array:
    """Object arrays only where a size that follows the batch stands in them."""
    if found.dtype != object:
        return found
    items = found.ravel().tolist()
    if any(isinstance(i, Poly) for i in items):
        return found
    kind = np.float64 if any(isinstance(i, float) for i in items) else np.int64
    return found.astype(bool if items and all(isinstance(i, bool) for i in items) else kind)


def sizes_in(found: Array) -> list[Size]:
    """The numbers of a value as whole sizes.

    Raises:
        Unsized: where one is no whole number.
    """
    result: list[Size] = []
    for item in found.ravel().tolist():
        if isinstance(item, Poly):
            result.append(item)
        elif isinstance(item, (int, float)) and math.isfinite(item) and item == int(item) and abs(item) <= 2**63:
            result.append(int(item))
        else:
            raise Unsized(f"a size is {item!r}")
    return result


def _limited(count: Size) -> int:
    if isinstance(count, Poly) or not 0 <= count <= MOST:
        raise Unsized("a value of many numbers")
    return count


def _both(a: Array, b: Array) -> tuple[Array, Array]:
    if a.dtype == object or b.dtype == object:
        a, b = a.astype(object), b.astype(object)
    elif np.broadcast_shapes(a.shape, b.shape) != () and math.prod(np.broadcast_shapes(a.shape, b.shape)) > MOST:
        raise Unsized("a value of many numbers")
    return a, b


def _binary(function: Callable[[Any, Any], Any]) -> Fold:
    def fold(node: Node, args: list[Array]) -> Array:
        return np.asarray(function(*_both(args[0], args[1])))

    return fold


def _unary(function: Callable[[Any], Any], same: bool = False) -> Fold:
    """``same``: a size is its own result (rounding a whole number)."""

    def fold(node: Node, args: list[Array]) -> Array:
        if args[0].dtype == object:
            if same:
                return args[0]
            raise Varies(f"{node.op} of a size that follows the batch")
        return np.asarray(function(args[0]))

    return fold


def _divide(a: Any, b: Any) -> Any:
    if a.dtype == object:
        whole = all(not isinstance(i, float) for i in (*a.ravel().tolist(), *b.ravel().tolist()))
        return a // b if whole else a / b
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        if np.any(b == 0):
            raise Unsized("a division by 0")
        return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))
    return a / b


def _modulo(a: Any, b: Any) -> Any:
    if a.dtype != object and np.any(b == 0):
        raise Unsized("a division by 0")
    return a % b


def _compare(function: Callable[[Any, Any], Any], test: Callable[[int], bool]) -> Fold:
    """``test`` is of the sign of the difference, where sizes follow the batch."""

    def fold(node: Node, args: list[Array]) -> Array:
        a, b = _both(args[0], args[1])
        if a.dtype != object:
            return np.asarray(function(a, b))
        a, b = np.broadcast_arrays(a, b)
        return np.asarray([test(sign(x - y)) for x, y in zip(a.flat, b.flat, strict=True)], dtype=bool).reshape(a.shape)

    return fold


def _pick(function: Callable[[Any, Any], Any], largest: bool) -> Fold:
    def fold(node: Node, args: list[Array]) -> Array:
        result = args[0]
        for other in args[1:]:
            a, b = _both(result, other)
            if a.dtype != object:
                result = np.asarray(function(a, b))
                continue
            a, b = np.broadcast_arrays(a, b)
            chosen = [x if (sign(x - y) >= 0) == largest else y for x, y in zip(a.flat, b.flat, strict=True)]
            result = np.empty(a.shape, dtype=object)
            result.ravel()[:] = chosen  # a view: the array was just made
        return result

    return fold


def _shape(node: Node, args: list[Array]) -> Array:
    shape = node.shape(0)
    return array(shape[node.attr("start", 0) : node.attr("end", len(shape))])


def _size(node: Node, args: list[Array]) -> Array:
    return array(node.elements(0))


def _gather(node: Node, args: list[Array]) -> Array:
    data, indices = args
    axis = int(node.attr("axis", 0))
    return np.take(data, indices.astype(np.int64), axis=axis)


def _concat(node: Node, args: list[Array]) -> Array:
    if any(a.dtype == object for a in args):
        args = [a.astype(object) for a in args]
    return np.concatenate(args, axis=int(node.attr("axis", 0)))


def _slice(node: Node, args: list[Array]) -> Array:
    data = args[0]
    index: list[Any] = [slice(None)] * data.ndim
    for axis, start, stop, step in node.slices():
        if isinstance(start, Poly) or isinstance(stop, Poly):
            raise Varies("a slice of a value by the batch")
        stop_at = None if step < 0 and stop < -data.shape[axis] else stop
        index[axis] = slice(start, stop_at, step)
    return np.asarray(data[tuple(index)])


def _squeeze(node: Node, args: list[Array]) -> Array:
    axes = node.axes(1)
    return args[0].reshape([s for i, s in enumerate(args[0].shape) if (i not in axes if axes else s != 1)])


def _unsqueeze(node: Node, args: list[Array]) -> Array:
    axes = node.axes(1, extra=True)
    rest = iter(args[0].shape)
    return args[0].reshape([1 if i in axes else next(rest) for i in range(args[0].ndim + len(axes))])


def _reshape(node: Node, args: list[Array]) -> Array:
    wanted = sizes_in(args[1])
    shape = [args[0].shape[i] if s == 0 and i < args[0].ndim else s for i, s in enumerate(wanted)]
    if any(isinstance(s, Poly) for s in shape):
        raise Varies("a value whose shape follows the batch")
    return args[0].reshape([int(s) for s in shape if not isinstance(s, Poly)])


def _cast(node: Node, args: list[Array]) -> Array:
    if args[0].dtype == object:
        return args[0]
    to = int(node.attr("to", 1)) if node.op == "Cast" else (7 if args[1].dtype.kind in "iu" else 1)
    if to in (1, 10, 11, 16):
        return args[0].astype(np.float64)
    if to == 9:
        return args[0].astype(bool)
    if args[0].dtype.kind == "f":
        return np.asarray(np.nan_to_num(np.trunc(args[0]), posinf=2**62, neginf=-(2**62)), dtype=np.int64)
    return args[0].astype(np.int64)


def _constant_of_shape(node: Node, args: list[Array]) -> Array:
    sizes = [_limited(s) for s in sizes_in(args[0])]
    _limited(math.prod(sizes))
    return np.full(sizes, node.fill_value())


def _range(node: Node, args: list[Array]) -> Array:
    start, stop, step = (a.ravel().tolist()[0] for a in args)
    if isinstance(stop, Poly) or isinstance(start, Poly) or isinstance(step, Poly) or not step:
        raise Unsized("a range by the batch")
    count = max(math.ceil((stop - start) / step), 0) if math.isfinite(start) and math.isfinite(stop) else MOST + 1
    return np.asarray(start + np.arange(_limited(count)) * step)


def _expand(node: Node, args: list[Array]) -> Array:
    shape = np.broadcast_shapes(args[0].shape, tuple(_limited(s) for s in sizes_in(args[1])))
    _limited(math.prod(shape))
    return np.broadcast_to(args[0], shape)


def _tile(node: Node, args: list[Array]) -> Array:
    repeats = [_limited(s) for s in sizes_in(args[1])]
    _limited(math.prod(repeats) * args[0].size)
    return np.tile(args[0], repeats)


def _where(node: Node, args: list[Array]) -> Array:
    condition, a, b = args
    if condition.dtype == object:
        raise Varies("a choice by a size")
    a, b = _both(a, b)
    shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    _limited(math.prod(shape))
    return np.where(
        np.broadcast_to(condition, shape).astype(bool), np.broadcast_to(a, shape), np.broadcast_to(b, shape)
    )


def _reduce(function: Callable[[Any, Any], Any]) -> Fold:
    def fold(node: Node, args: list[Array]) -> Array:
        axes = node.axes(1)
        keep = bool(node.attr("keepdims", 1))
        if args[0].dtype == object and function not in (_add, _multiply):
            raise Varies("a reduction of sizes")
        result = args[0]
        for axis in sorted(axes or range(result.ndim), reverse=True):
            lanes = np.moveaxis(result, axis, 0)
            if not len(lanes):
                raise Unsized("a reduction of nothing")
            total = lanes[0]
            for lane in lanes[1:]:
                total = function(total, lane)
            result = np.expand_dims(np.asarray(total, dtype=result.dtype), axis) if keep else np.asarray(total)
        return result

    return fold


def _add(a: Any, b: Any) -> Any:
    return a + b


def _multiply(a: Any, b: Any) -> Any:
    return a * b


def _split(node: Node, args: list[Array]) -> list[Array]:
    axis = int(node.attr("axis", 0))
    sizes = [int(s) for s in node.split_sizes(args[0].shape[axis]) if not isinstance(s, Poly)]
    return np.split(args[0], np.cumsum(sizes)[:-1], axis=axis)


def _transpose(node: Node, args: list[Array]) -> Array:
    return np.transpose(args[0], node.ints("perm") or None)


def _nonzero(node: Node, args: list[Array]) -> Array:
    if args[0].dtype == object:
        raise Varies("which sizes are zero")
    return np.asarray(np.nonzero(np.atleast_1d(args[0])))


def _scatter(node: Node, args: list[Array]) -> Array:
    data, indices, updates = args
    result = data.astype(object) if updates.dtype == object else data.copy()
    if node.op == "ScatterND":
        result[tuple(np.moveaxis(indices.astype(np.int64), -1, 0))] = updates
    else:
        axis = int(node.attr("axis", 0))
        where: list[Any] = list(np.indices(indices.shape))
        where[axis] = indices.astype(np.int64)
        result[tuple(where)] = updates
    return result


def _same(node: Node, args: list[Array]) -> Array:
    return args[0]


FOLDS: dict[str, Fold] = {
    "Shape": _shape, "Size": _size, "Gather": _gather, "Concat": _concat, "Slice": _slice, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Reshape": _reshape, "Cast": _cast, "CastLike": _cast, "Identity": _same,
    "ConstantOfShape": _constant_of_shape, "Range": _range, "Expand": _expand, "Tile": _tile, "Where": _where,
    "Split": _split, "Transpose": _transpose, "NonZero": _nonzero, "ScatterND": _scatter, "ScatterElements": _scatter,
    "Add": _binary(_add), "Sub": _binary(lambda a, b: a - b), "Mul": _binary(_multiply), "Div": _binary(_divide),
    "Mod": _binary(_modulo), "Min": _pick(np.minimum, False), "Max": _pick(np.maximum, True), "Equal": _compare(np.equal, lambda s: s == 0),
    "Less": _compare(np.less, lambda s: s < 0), "Greater": _compare(np.greater, lambda s: s > 0), "LessOrEqual": _compare(np.less_equal, lambda s: s <= 0),
    "GreaterOrEqual": _compare(np.greater_equal, lambda s: s >= 0), "And": _binary(np.logical_and), "Or": _binary(np.logical_or),
    "Not": _unary(np.logical_not), "Neg": lambda node, args: -args[0], "Abs": _unary(np.abs, same=True),
    "Floor": _unary(np.floor, same=True), "Ceil": _unary(np.ceil, same=True), "Round": _unary(np.round, same=True),
    "Sqrt": _unary(np.sqrt), "Sign": _unary(np.sign), "IsNaN": _unary(np.isnan), "Pow": _binary(lambda a, b: a**b),
    "Exp": _unary(np.exp), "Log": _unary(np.log),
    "ReduceSum": _reduce(_add), "ReduceProd": _reduce(_multiply), "ReduceMax": _reduce(np.maximum),
    "ReduceMin": _reduce(np.minimum),
}  # fmt: skip


def fold(node: Node) -> list[Array] | None:
    """The values of a node's outputs, or None where they are not all known.

    Raises:
        Varies: where they are no polynomials in the batch.
    """
    function = FOLDS.get(node.op)
    if function is None:
        return None
    try:
        args = [] if node.op in ("Shape", "Size") else [node.value(i) for i in range(len(node.inputs)) if node.has(i)]
        if any(a.size > (MOST_FREE if a.dtype == object else MOST) for a in args):
            return None
        with np.errstate(all="ignore"):
            found = function(node, args)
    except (Unsized, IndexError, ValueError, TypeError, OverflowError, ZeroDivisionError, np.exceptions.AxisError):
        return None  # the operator's own rule says what does not fit
    results = [np.asarray(r) for r in (found if isinstance(found, list) else [found])]
    return [tidy(r) for r in results] if all(r.size <= MOST for r in results) else None
