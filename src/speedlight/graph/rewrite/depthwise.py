"""Depthwise convolutions replaced by what touches fewer channels: a dense one on part of them, or bands of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, const
from ..ir import Graph, Op, Operand, Persistent, Tensor, Work
from .edit import Edit, edited
from .expand import is_convolution, is_depthwise
from .registry import REWRITES, remodel
from .resized import without_unread


@REWRITES.register("partial_convolution")
def partial_convolution(graph: Graph, share: float = 0.25, least: int = 2) -> Graph:
    """A depthwise convolution → a dense one on a share of the channels; the others stay where they are (arXiv 2303.03667 §3.2).

    Args:
        share: of the channels.
        least: smallest kernel side that is replaced.
    """
    if not 0 < share <= 1:
        raise BadInput(f"{share:g} of the channels", expected="above 0, up to 1")

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        sides = _sides(op, least)
        if sides is None:
            return (op,)
        channels = max(round(_number(op, "in_channels") * share), 1)
        return (_part(edit, op, op.name, channels, channels, sides, 1, in_place=True),)

    return without_unread(edited(graph, visit, lambda block: block.phase == "forward"))


@remodel("banded_depthwise")
def banded_depthwise(graph: Graph, share: float = 0.125, square: int = 3, band: int = 11, least: int = 5) -> Graph:
    """A large depthwise convolution → on a share of the channels each a small square, a lying and a standing band; the rest
    passes by, and all are put side by side (arXiv 2303.16900 §3.2).

    Args:
        share: of the channels that each of the three takes.
        square, band: sides of the kernels.
        least: smallest kernel side that is replaced.
    """
    if not 0 < share <= 1 / 3:
        raise BadInput(f"{share:g} of the channels for each of three", expected="above 0, up to 1/3")

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if _sides(op, least) is None:
            return (op,)
        channels = max(round(_number(op, "in_channels") * share), 1)
        kernels = (("square", (square, square)), ("lying", (1, band)), ("standing", (band, 1)))
        parts = [_part(edit, op, f"{op.name}.{name}", channels, channels, sides, channels) for name, sides in kernels]
        joined = edit.op(
            f"{op.name}.join", "copy", "cat", op, reads=(op.reads[0], *(Operand(p.writes[0].tensor) for p in parts)), writes=op.writes,
        )  # fmt: skip
        reads = (dataclasses.replace(op.reads[0], elements=_of(edit, op) * (1 - 3 * share)), *joined.reads[1:])
        return (*parts, dataclasses.replace(joined, reads=reads))

    return without_unread(edited(graph, visit, lambda block: block.phase == "forward"))


def _sides(op: Op, least: int) -> tuple[int, int] | None:
    """The kernel's sides where it is a depthwise convolution at least that large, whose stride is 1."""
    if not is_convolution(op) or not is_depthwise(op) or _number(op, "in_channels") < 4:
        return None
    if op.attrs.get("stride", (1, 1)) != (1, 1) or op.dims["in_channels"] != op.dims["out_channels"]:
        return None
    sides = _number(op, "kernel_h"), _number(op, "kernel_w")
    return sides if max(sides) >= least else None


def _number(op: Op, name: str) -> int:
    found = op.dims[name].constant
    return 0 if found is None else int(found)


def _of(edit: Edit, op: Op) -> Expr:
    return edit.touched(op.reads[0])


def _part(
    edit: Edit, op: Op, name: str, inside: int, outside: int, sides: tuple[int, int], groups: int, *, in_place: bool = False
) -> Op:  # fmt: skip
    """A convolution on the first channels of another's input."""
    size = op.dims["m"]
    depth = inside // groups * sides[0] * sides[1]
    source, learned = edit.tensor(op.reads[0].tensor), edit.tensor(op.reads[1].tensor)
    made = const(depth * outside)
    weight = edit.activation(f"{name}.part.weight", made, learned.dtype)
    edit.tensors[weight] = Tensor(weight, made, learned.dtype, "weight", Persistent(made))
    read = Operand(op.reads[0].tensor, _of(edit, op) * (inside / _number(op, "in_channels")), op.reads[0].access)
    writes: tuple[Operand, ...]
    if in_place:
        writes = (dataclasses.replace(op.writes[0], elements=size * outside),)
    else:
        writes = (Operand(edit.activation(f"{name}.out", size * outside, source.dtype)),)
    work = tuple(
        dataclasses.replace(w, flops=2 * size * depth * outside) for w in op.work if w.unit in ("matmul", "vector")
    )[:1]
    if not work:
        work = (Work("matmul", 2 * size * depth * outside, source.dtype),)
    dims = {
        **op.dims, "n": const(outside // groups), "k": const(depth), "in_channels": const(inside), "out_channels": const(outside),
        "groups": const(groups), "kernel_h": const(sides[0]), "kernel_w": const(sides[1]),
    }  # fmt: skip
    attrs = {**op.attrs, "groups": groups, "padding": (sides[0] // 2, sides[1] // 2)}
    return dataclasses.replace(
        op, name=edit.name(name) if name != op.name else name, reads=(read, Operand(weight)), writes=writes, work=work, dims=dims,
        attrs=attrs,
    )  # fmt: skip


__all__ = ["banded_depthwise", "partial_convolution"]
