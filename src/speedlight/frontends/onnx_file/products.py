"""Matrix products, convolutions and recurrences: the operators whose FLOPs count.

They come down to the op table of captured modules (:mod:`..torch_export.products`), so that a model costs the same
whichever way it came. That table refuses operands of two dtypes, as kernels of PyTorch do; here both sides are shown in
one, and the format they are multiplied in follows from what is stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.expr import Expr, const
from ..._foundation.formats import multiply_format
from ...graph.builder import BlockBuilder
from ...graph.ir import Work
from ..torch_export.aten import describe
from ..torch_export.calls import Call, Facts, Touch, View, size_of
from .held import broadcast
from .node import Node, Rule
from .sizes import Poly, Size, product, to_expr
from .values import Unsized
from .windows import widened, window


def dense(node: Node, name: str, args: dict[str, Any], sides: tuple[str, ...], outs: Sequence[View]) -> list[Facts]:
    """What the op table says of a product, in the format its first two sides are stored in."""
    if node.muted:
        return []
    left, right = _first(args[sides[0]]), _first(args[sides[1]])
    number = multiply_format(left.dtype, right.dtype)
    shown = {k: _plain(v) if k in sides else v for k, v in args.items()}
    result = []
    for facts in describe(Call(name, shown, tuple(outs), node.fresh, f"onnx::{node.op}")):
        work = tuple(dataclasses.replace(w, format=number) if w.unit == "matmul" else w for w in facts.work)
        attrs = dict(facts.attrs)
        if left.dtype != right.dtype or number != left.dtype:
            attrs |= {"weights": right.dtype, "activations": number}
        writes = tuple(outs) if facts.writes is None else facts.writes
        result.append(dataclasses.replace(facts, work=work, attrs=attrs, writes=writes))
    return result


def _first(value: Any) -> View:
    found = value[0] if isinstance(value, list) else value
    assert isinstance(found, View)
    return found


def _plain(value: Any) -> Any:
    """Views in one dtype, whatever they are stored in."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return dataclasses.replace(value, dtype="fp32")


def linear(node: Node, x: View, weight: View, bias: View | None, out: View) -> None:
    """x[..., K] · weight[N, K]ᵀ (+ bias)."""
    node.emit(*dense(node, "linear", {"input": x, "weight": weight, "bias": bias}, ("input", "weight"), [out]))


def swapped(view: View) -> View:
    """The same memory with its last two axes named the other way round."""
    order = (*range(view.rank - 2), view.rank - 1, view.rank - 2)
    return dataclasses.replace(
        view, shape=tuple(view.shape[i] for i in order), hints=tuple(view.hints[i] for i in order)
    )


def batched(node: Node, a: View, b: View, out: View, shape: Sequence[Size], k: Size) -> None:
    """a[…, M, K] · b[…, K, N] with leading axes that broadcast."""
    lead = size_of([to_expr(s) for s in shape[:-2]])
    m, n, depth = to_expr(shape[-2]), to_expr(shape[-1]), to_expr(k)
    left = dataclasses.replace(a, shape=(lead, m, depth), hints=(1, 1, 1))
    right = dataclasses.replace(b, shape=(lead, depth, n), hints=(1, 1, 1))
    node.emit(*dense(node, "bmm", {"self": left, "mat2": right}, ("self", "mat2"), [out]))


def matmul(node: Node, first: int = 0, second: int = 1, bias: View | None = None) -> None:
    """MatMul, FusedMatMul and their quantised forms: NumPy's rules; against a matrix it is a linear layer."""
    a, b = list(node.shape(first)), list(node.shape(second))
    swap_a, swap_b = bool(node.attr("transA", 0)), bool(node.attr("transB", 0))
    if not a or not b:
        raise BadFile(f"{node.where} multiplies a scalar", expected="tensors of at least one axis")
    left, right = node.view(first), node.view(second)
    if swap_a and len(a) > 1:
        a[-2:], left = a[:-3:-1], swapped(left)
    if swap_b and len(b) > 1:
        b[-2:], right = b[:-3:-1], swapped(right)
    row, column = len(a) == 1, len(b) == 1
    full_a, full_b = ([1, *a] if row else a), ([*b, 1] if column else b)
    if full_a[-1] != full_b[-2]:
        raise BadFile(f"{node.where} contracts {full_a[-1]} with {full_b[-2]}", expected="equal sizes")
    lead = broadcast([tuple(full_a[:-2]), tuple(full_b[:-2])], node.where)
    shape: list[Size] = [*lead, full_a[-2], full_b[-1]]
    after = [s for i, s in enumerate(shape) if not ((row and i == len(shape) - 2) or (column and i == len(shape) - 1))]
    out = node.make(after, _result_type(node))
    if len(full_b) == 2 or product(full_b[:-2]) == 1:
        rows = dataclasses.replace(left, shape=tuple(to_expr(s) for s in full_a), hints=(1,) * len(full_a))
        matrix = dataclasses.replace(right, shape=(to_expr(full_b[-1]), to_expr(full_b[-2])), hints=(1, 1))
        is_weight = right.cls in ("weight", "constant")
        if is_weight or bias is not None:
            linear(node, rows, matrix, bias, out)
            return
    batched(node, left, right, out, shape, full_a[-1])


def _result_type(node: Node) -> str | None:
    return {"MatMulInteger": "int32", "ConvInteger": "int32"}.get(node.op)


def matmul_node(node: Node) -> None:
    matmul(node)


def gemm(node: Node) -> None:
    """Gemm(A, B, C?): A'[M, K] · B'[K, N] + C."""
    a, b = list(node.shape(0)), list(node.shape(1))
    if len(a) != 2 or len(b) != 2:
        raise BadFile(f"{node.where} multiplies tensors of {len(a)} and {len(b)} axes", expected="matrices")
    left, right = node.view(0), node.view(1)
    if node.attr("transA", 0):
        a, left = a[::-1], swapped(left)
    if not node.attr("transB", 0):
        right = swapped(right)
    else:
        b = b[::-1]
    if a[1] != b[0]:
        raise BadFile(f"{node.where} contracts {a[1]} with {b[0]}", expected="equal sizes")
    linear(node, left, right, node.maybe(2), node.make([a[0], b[1]]))


def convolve(node: Node, x_at: int, w_at: int, bias: View | None, extra: tuple[View, ...] = ()) -> None:
    """A convolution of inputs ``x_at`` and ``w_at`` (channels first), plain or transposed."""
    x_shape, w_shape = node.shape(x_at), node.shape(w_at)
    rank = len(x_shape) - 2
    if rank < 1 or len(w_shape) != len(x_shape):
        raise BadFile(f"{node.where} convolves {len(x_shape)} axes with {len(w_shape)}", expected="3 to 5 axes each")
    kernel = [k for k in w_shape[2:] if not isinstance(k, Poly)]
    groups = int(node.attr("group", 1))
    transposed = node.op == "ConvTranspose"
    inputs = w_shape[0] if transposed else w_shape[1] * groups
    if groups < 1 or x_shape[1] != inputs:
        raise BadFile(f"{node.where} has {x_shape[1]} channels for weights of {inputs}", expected="equal channels")
    if transposed:
        spatial = widened(node, x_shape[2:], kernel)
        channels: Size = w_shape[1] * groups
    else:
        spatial, kernel = window(node, list(x_shape[2:]), kernel)
        channels = w_shape[0]
    out_view_type = _result_type(node) or _quantized_result(node)
    x, w = node.view(x_at), node.view(w_at)
    out = node.make([x_shape[0], channels, *spatial], out_view_type)
    args = {
        "input": x, "weight": w, "bias": bias, "stride": node.ints("strides") or [1] * rank,
        "padding": (node.ints("pads") or [0] * rank)[:rank], "dilation": node.ints("dilations") or [1] * rank,
        "groups": groups, "transposed": transposed,
    }  # fmt: skip
    for facts in dense(node, "convolution", args, ("input", "weight"), [out]):
        node.emit(dataclasses.replace(facts, reads=(*(facts.reads or ()), *extra)))


def _quantized_result(node: Node) -> str | None:
    """QLinearConv writes what its result's zero point is in."""
    return node.dtype(7) if node.op == "QLinearConv" else None


def conv(node: Node) -> None:
    convolve(node, 0, 1, node.maybe(2))


def conv_integer(node: Node) -> None:
    convolve(node, 0, 1, None)


def qlinear_conv(node: Node) -> None:
    """QLinearConv(x, scale, zero, w, scale, zero, scale, zero, bias?)"""
    convolve(node, 0, 3, node.maybe(8))


def deform_conv(node: Node) -> None:
    """DeformConv(x, w, offset, bias?, mask?): each tap is read at a place of its own, interpolated from four."""
    shape, w_shape, offset = node.shape(0), node.shape(1), node.shape(2)
    x, w = node.view(0), node.view(1)
    out = node.make([shape[0], w_shape[0], *offset[2:]])
    groups = int(node.attr("group", 1))
    args = {
        "input": x,
        "weight": w,
        "bias": node.maybe(3),
        "stride": (),
        "padding": (),
        "dilation": (),
        "groups": groups,
    }
    taps = size_of([to_expr(s) for s in (shape[0], shape[1], *w_shape[2:], *offset[2:])])
    for facts in dense(node, "convolution", args, ("input", "weight"), [out]):
        extra = (Work("vector", taps * 8, "fp32"),)
        rest = tuple(v for v in (w, node.view(2), node.maybe(3), node.maybe(4)) if v is not None)
        reads: tuple[View | Touch, ...] = (Touch(x, taps * 4, "random", const(1)), *rest)
        node.emit(dataclasses.replace(facts, fn="deform_conv", work=(*facts.work, *extra), reads=reads))


def qlinear_matmul(node: Node) -> None:
    """QLinearMatMul(a, scale, zero, b, scale, zero, scale, zero)"""
    node.quantizes = node.dtype(7)
    matmul(node, 0, 3)


def einsum(node: Node) -> None:
    """Two operands: a batched product of the letters both have, one has, and none of the result has."""
    equation = str(node.attr("equation", "")).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    letters = terms.split(",")
    given = [i for i in range(len(node.inputs)) if node.has(i)]
    if not arrow or len(letters) != len(given) or any("." in t for t in (*letters, result)):
        raise Unsized(f"{node.where}: the equation {equation[:60]!r}")
    sizes: dict[str, Size] = {}
    for term, index in zip(letters, given, strict=True):
        if len(term) != node.rank(index):
            raise BadFile(f"{node.where}: {term!r} for {node.rank(index)} axes")
        for letter, size in zip(term, node.shape(index), strict=True):
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    if any(letter not in sizes for letter in result):
        raise BadFile(f"{node.where}: {result!r} names an axis nothing has")
    after = [sizes[letter] for letter in result]
    views = [node.view(i) for i in given]
    out = node.make(after)
    if len(given) != 2:
        work = BlockBuilder.element_work("mul", size_of([to_expr(s) for s in sizes.values()]))
        node.emit(Facts("reduction", "einsum", work, reads=tuple(views), writes=(out,)))
        return
    left, right = set(letters[0]), set(letters[1])
    contracted = [c for c in sizes if c not in result]
    if not contracted:
        work = BlockBuilder.element_work("mul", out.elements)
        node.emit(Facts("elementwise", "mul", work, reads=tuple(views), writes=(out,)))
        return
    both = [c for c in result if c in left and c in right]
    m = product(sizes[c] for c in result if c in left and c not in right)
    n = product(sizes[c] for c in result if c in right and c not in left)
    batched(
        node, views[0], views[1], out, [product(sizes[c] for c in both), m, n], product(sizes[c] for c in contracted)
    )


def recurrent(node: Node) -> None:
    """LSTM, GRU, RNN (X, W, R, B?, lengths?, h0?, c0? …): W[directions, gates·H, I], R[directions, gates·H, H]."""
    x_shape, w_shape, r_shape = node.shape(0), node.shape(1), node.shape(2)
    batch_first = bool(node.attr("layout", 0))
    directions = 2 if node.attr("direction", "forward") == "bidirectional" else 1
    if len(x_shape) != 3 or len(w_shape) != 3 or len(r_shape) != 3 or w_shape[0] != directions:
        raise BadFile(f"{node.where} has weights for {w_shape[:1]} directions", expected=f"{directions}")
    steps, batch = (x_shape[1], x_shape[0]) if batch_first else (x_shape[0], x_shape[1])
    hidden = r_shape[2]
    lead = [batch, steps] if batch_first else [steps, directions, batch]
    x, states = node.view(0), [node.view(i) for i in (5, 6) if node.has(i)]
    last = [batch, directions, hidden] if batch_first else [directions, batch, hidden]
    shape = [*lead, directions, hidden] if batch_first else [*lead, hidden]
    outs = [node.make(shape) if node.wants(0) else node.fresh(to_expr(product(shape)), x.dtype)]
    outs += [node.make(last, index=i) for i in (1, 2) if node.wants(i)]
    weights, biases = [node.view(1), node.view(2)], node.maybe(3)
    params: list[View] = []
    for direction in range(directions):
        params += [_half(v, shape, direction, directions) for v, shape in zip(weights, (w_shape, r_shape), strict=True)]
        if biases is not None:
            params += [_share(biases, (direction, side), 2 * directions) for side in range(2)]
    name = {"LSTM": "lstm", "GRU": "gru"}.get(node.op, "rnn_tanh")
    args = {
        "input": x, "hx": states, "params": params, "has_biases": biases is not None, "num_layers": 1,
        "bidirectional": directions == 2, "batch_first": batch_first,
    }  # fmt: skip
    node.emit(*dense(node, name, args, ("input", "params"), outs))


def _half(view: View, shape: Sequence[Size], direction: int, directions: int) -> View:
    """One direction's matrix of a stacked weight."""
    sizes = tuple(to_expr(s) for s in shape[1:])
    part = (direction,) if directions > 1 else ()
    touched: Expr = size_of(sizes)
    return dataclasses.replace(view, shape=sizes, hints=view.hints[1:], touched=touched, part=part)


def _share(view: View, part: tuple[int, ...], parts: int) -> View:
    size = view.elements / parts
    return dataclasses.replace(view, shape=(size,), hints=(1,), touched=size, part=part)


PRODUCTS: dict[tuple[str, str], Rule] = {
    ("", "MatMul"): matmul_node, ("", "MatMulInteger"): matmul_node, ("", "QLinearMatMul"): qlinear_matmul,
    ("", "Gemm"): gemm, ("", "Conv"): conv, ("", "ConvTranspose"): conv, ("", "ConvInteger"): conv_integer,
    ("", "QLinearConv"): qlinear_conv, ("", "DeformConv"): deform_conv, ("", "Einsum"): einsum,
    ("", "LSTM"): recurrent, ("", "GRU"): recurrent, ("", "RNN"): recurrent,
}  # fmt: skip
