"""One call as the kernels a library makes of it: copies into a layout a kernel takes, layout changes, biases.

A captured op says how its operands lie in memory (``orders``, one for each read: "" row by row, ``0231`` channels last).
Which function accepts what is a library's matter, so lists of functions come as parameters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from ..._foundation.expr import Expr, ge, maximum, product, where
from ..builder import BlockBuilder
from ..ir import Graph, Op, Operand
from .edit import Edit, edited, with_reads
from .registry import REWRITES

LIBRARY = (
    "library_copy"  # of a copy that a library makes for its own kernels: no good kernel needs it, so no limit has it
)


def channels_last(order: str) -> bool:
    """Are channels (dimension 1) innermost and the rest in order?"""
    rest = order[:-1]
    return len(order) > 1 and order[-1] == "1" and list(rest) == sorted(rest)


def order_of(op: Op, position: int) -> str:
    """How a read lies in memory."""
    orders: tuple[str, ...] = op.attrs.get("orders", ())
    return orders[position] if position < len(orders) else ""


def is_convolution(op: Op) -> bool:
    """A convolution as modules call it; a token mixer's short one, whose rows are tokens, is none."""
    return op.kind == "conv" and {"in_channels", "out_channels", "groups"} <= set(op.dims)


def is_depthwise(op: Op) -> bool:
    """One filter or a few for each channel."""
    groups, channels = op.dims.get("groups"), op.dims.get("in_channels")
    return groups is not None and channels is not None and groups.constant == channels.constant != 1


@REWRITES.register("contiguous")
def contiguous(
    graph: Graph, rows: Sequence[str] = (), images: Sequence[str] = (), matrices: Sequence[str] = ()
) -> Graph:
    """Copies that a function makes of an argument it cannot walk through.

    Args:
        rows: functions whose first argument must lie row by row.
        images: functions that take row by row or channels last.
        matrices: products, which take any two-dimensional operand with a leading dimension, and more dimensions only row
            by row.
    """
    strict, either, products = frozenset(rows), frozenset(images), frozenset(matrices)

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        order = order_of(op, 0)
        if not order or op.phase != "forward":
            return (op,)
        if op.fn in strict or (op.fn in either and not channels_last(order)):
            return copied(edit, op, 0, "")
        if op.fn in products and len(order.strip("*")) > 2:
            return copied(edit, op, 0, "")
        return (op,)

    return edited(graph, visit)


def copied(edit: Edit, op: Op, position: int, order: str) -> tuple[Op, Op]:
    """A copy of one argument in another layout, and the op that reads it."""
    read = op.reads[position]
    name, copy = _layout_copy(edit, op, read, order_of(op, position), order)
    orders = list(op.attrs.get("orders", ()))
    orders += [""] * (len(op.reads) - len(orders))
    orders[position] = order
    attrs = {k: v for k, v in op.attrs.items() if k != "orders"}
    if any(orders):
        attrs["orders"] = tuple(orders)
    return copy, dataclasses.replace(with_reads(op, {position: name}), attrs=attrs)


def _layout_copy(edit: Edit, op: Op, read: Operand, before: str, after: str) -> tuple[str, Op]:
    tensor = edit.tensor(read.tensor)
    fn = "to_channels_last" if channels_last(after) else "contiguous"
    name = edit.activation(f"{read.tensor}.{fn}", edit.touched(read), tensor.dtype, tensor.needs_grad)
    attrs = {"orders": (before,), "out_orders": (after,), LIBRARY: True}
    return name, edit.op(f"{op.name}.{fn}", "copy", fn, op, reads=(read,), writes=(Operand(name),), attrs=attrs)


@REWRITES.register("conv_layout")
def conv_layout(
    graph: Graph, formats: Sequence[str] = ("fp16", "bf16"), grouped: bool = False, depthwise: bool = False, weights: bool = True,
    results: bool = True, mixed: bool = True, label: bool = True, above: float = 0.0, pointwise: bool = True,
) -> Graph:  # fmt: skip
    """Layout changes around convolutions whose kernels want channels last.

    A convolution runs channels last where its input or its weight lies so; an operand that lies otherwise is copied
    (``mixed``). Where nothing lies so, kernels of the named formats still want it: input, weight and result are transposed.

    Args:
        formats: number formats whose kernels are channels-last only.
        grouped: grouped convolutions, too; depthwise ones only with ``depthwise`` (they may have kernels of their own).
        weights, results: transpose these, not the input alone.
        label: note the layout a convolution runs in as ``attrs["layout"]``.
        above: numbers in one image beyond which a library is called that wants it; a single smaller one is multiplied as it
            lies, unless its filters see some of the channels only or reach over more than three points each way.
        pointwise: also around dense convolutions of single points, which are products of each image as it lies row by row.
    """
    transposing = frozenset(formats)

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if not is_convolution(op) or "layout" in op.attrs:
            return (op,)
        last = any(channels_last(order_of(op, i)) for i in range(2))
        native = (not depthwise and is_depthwise(op)) or (not pointwise and is_product(op))
        if label:
            op = dataclasses.replace(op, attrs={**op.attrs, "layout": "channels_last" if last else "contiguous"})
        if last:
            return _matching(edit, op) if mixed else (op,)
        number = next((w.format for w in op.work if w.unit == "matmul"), "")
        if (
            number not in transposing
            or native
            or (op.dims["groups"].constant != 1 and not grouped and not is_depthwise(op))
        ):
            return (op,)
        made = _transposed(edit, op, weights, results)
        given = _given(op, above)
        return made if given is None else [o if is_convolution(o) else _counted(o, given) for o in made]

    return edited(graph, visit)


def single_points(op: Op) -> bool:
    """Whether a convolution's filter has one tap."""
    return all(size.constant == 1 for name, size in op.dims.items() if name.startswith("kernel_"))


def is_product(op: Op) -> bool:
    """A dense convolution of single points without gaps: filter · image, image by image, forward or to the image's gradient.

    The filter's gradient sums over images, so that it is none.
    """
    return (
        op.dims["groups"].constant == 1 and single_points(op) and not op.fn.endswith("_wgrad")
        and all(s == 1 for s in op.attrs.get("stride") or ()) and all(p == 0 for p in op.attrs.get("padding") or ())
    )  # fmt: skip


def _given(op: Op, above: float) -> Expr | None:
    """Whether the library gets a convolution, as 1 or 0; None where it always does."""
    d = op.dims
    reach = sorted(d[f"kernel_{axis}"].constant or math.inf for axis in "hw" if f"kernel_{axis}" in d)
    if not above or op.phase != "forward" or d["groups"].constant != 1 or (len(reach) == 2 and reach[0] > 3):
        return None
    points = product(d[f"out_{axis}"] for axis in "dhw" if f"out_{axis}" in d)
    taken = product(d[f"in_{axis}"] for axis in "dhw" if f"in_{axis}" in d) * d["in_channels"]
    return where(maximum(ge(d["m"] / points, 1.5), ge(taken, above + 0.5)), 1.0, 0.0)


def _counted(op: Op, times: Expr) -> Op:
    return dataclasses.replace(op, count=op.count * times)


def _matching(edit: Edit, op: Op) -> list[Op]:
    """Operands of a channels-last convolution that lie otherwise are copied; flat ones lie both ways."""
    made: list[Op] = []
    for position in range(min(2, len(op.reads))):
        if lies_flat(edit, op, position):
            continue
        copy, op = copied(edit, op, position, "0231")
        made.append(copy)
    return [*made, op]


def lies_flat(edit: Edit, op: Op, position: int) -> bool:
    """Does a convolution's image (0) or weight (1) lie channels last already: as captured, or one way being the other?

    The backward pass of the weight reads two images.
    """
    if channels_last(order_of(op, position)):
        return True
    channels, groups = op.dims["in_channels"].constant, op.dims["groups"].constant
    if position == 0 or op.fn.endswith("_wgrad"):
        return channels == 1 or _points(op, "in_") == 1
    return single_points(op) or groups == channels


def _points(op: Op, side: str) -> float | None:
    """Positions of an image where they are numbers."""
    sizes = [size.constant for name, size in op.dims.items() if name in (f"{side}h", f"{side}w", f"{side}d")]
    return None if any(s is None for s in sizes) else math.prod(s for s in sizes if s is not None)


def _transposed(edit: Edit, op: Op, weights: bool, results: bool) -> list[Op]:
    made: list[Op] = []
    for position, read in enumerate(op.reads[:2]):
        if lies_flat(edit, op, position):
            continue
        if position == 1 and not weights and edit.tensor(read.tensor).cls in ("weight", "constant"):
            continue
        name, copy = _layout_copy(edit, op, read, order_of(op, position), "0231")
        made.append(copy)
        op = with_reads(op, {position: name})
    after: list[Op] = []
    if results and op.dims["out_channels"].constant != 1 and _points(op, "out_") != 1:
        result = op.writes[0]
        tensor = edit.tensor(result.tensor)
        name = edit.activation(f"{result.tensor}.channels_last", edit.touched(result), tensor.dtype, tensor.needs_grad)
        back = edit.op(
            f"{op.name}.from_channels_last", "copy", "from_channels_last", op, reads=(Operand(name),), writes=(result,),
            attrs={"orders": ("0231",), LIBRARY: True},
        )  # fmt: skip
        op = dataclasses.replace(op, writes=(Operand(name), *op.writes[1:]))
        after = [back]
    return [*made, op, *after]


@REWRITES.register("conv_bias")
def conv_bias(graph: Graph, depthwise: bool = False) -> Graph:
    """A convolution's bias added by a kernel of its own, in place.

    Args:
        depthwise: also for depthwise convolutions row by row, whose own kernels add it themselves.
    """

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if not is_convolution(op) or op.phase != "forward" or len(op.reads) < 3:
            return (op,)
        if is_depthwise(op) and not depthwise and not any(channels_last(order_of(op, i)) for i in range(2)):
            return (op,)
        bias = op.reads[2]
        result = op.writes[0]
        tensor = edit.tensor(result.tensor)
        name = edit.activation(f"{result.tensor}.unbiased", edit.touched(result), tensor.dtype, tensor.needs_grad)
        order = op.attrs.get("out_orders", ("",))[0]
        attrs = {"in_place": True, **({"orders": (order, ""), "out_orders": (order,)} if order else {})}
        add = edit.op(
            f"{op.name}.bias", "elementwise", "add", op, reads=(Operand(name), bias), writes=(result,), attrs=attrs,
            work=BlockBuilder.element_work("copy", tensor.elements),
        )  # fmt: skip
        return (
            dataclasses.replace(op, reads=(*op.reads[:2], *op.reads[3:]), writes=(Operand(name), *op.writes[1:])),
            add,
        )

    return edited(graph, visit)


__all__ = ["channels_last", "contiguous", "conv_bias", "conv_layout", "is_convolution", "is_depthwise", "order_of"]
