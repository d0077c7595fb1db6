"""Mixed precision by casts: what ``torch.autocast`` puts before each function, as ops of their own.

A function is of one of five sorts, by lists that the framework publishes and a stack's file carries:

* ``lower``: its floating-point arguments are cast to the low format (products, convolutions, attention);
* ``full``: cast to fp32 (norms over rows, logarithms, losses);
* ``full_inside``: it reads what comes and returns fp32, the conversion being part of its kernel (softmax, sums);
* ``widest``: cast to the widest of its arguments;
* any other: runs in what comes. PyTorch's type promotion gives its result the widest format of its arguments, or the
  first argument's where the function keeps it (``keeps``: batch norm, pooling, gathers).

Casts of weights are remembered inside one region, so each weight is cast once a forward pass; casts of activations are not:
three projections of one fp32 tensor cast it three times.

What the module's own code says goes before the lists (:mod:`.conversions`): conversions it calls, regions it turns off.

A repeated block whose first instance receives another format than it hands on has that instance taken out of the fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..._foundation.errors import BadInput
from ..._foundation.formats import number_format
from ..builder import BlockBuilder
from ..ir import Block, Graph, Op, Operand
from .conversions import settled
from .edit import Edit, with_reads
from .layers import some
from .registry import REWRITES

LOW = ("fp16", "bf16")
FLOATS = ("fp32", "fp16", "bf16")
WIDTH = {"bf16": 0, "fp16": 1, "fp32": 2}  # PyTorch promotes fp16 with bf16 to fp32; the two never meet here


@dataclass(frozen=True, slots=True)
class Lists:
    """Names of functions by what autocast does to them."""

    lower: frozenset[str] = frozenset()
    full: frozenset[str] = frozenset()
    full_inside: frozenset[str] = frozenset()
    widest: frozenset[str] = frozenset()
    keeps: frozenset[str] = frozenset()


@REWRITES.register("autocast")
def autocast(
    graph: Graph, to: str = "fp16", lower: Sequence[str] = (), full: Sequence[str] = (), full_inside: Sequence[str] = (),
    widest: Sequence[str] = (), keeps: Sequence[str] = (),
) -> Graph:  # fmt: skip
    """The forward pass inside an autocast region.

    Args:
        to: the low format, fp16 or bf16.
        lower, full, full_inside, widest, keeps: see the module docstring.

    Raises:
        BadInput: another format.
    """
    number = number_format(to).name
    if number not in LOW:
        raise BadInput(f"autocast to {to}", expected="fp16 or bf16")
    if graph.attrs.get("autocast"):
        return graph
    lists = Lists(*(frozenset(names) for names in (lower, full, full_inside, widest, keeps)))
    made = _forward(graph, number, lists)
    return settled(made.replace(attrs={**made.attrs, "autocast": number}))


def promoted(graph: Graph, number: str) -> Graph:
    """A module whose weights and inputs are in a low format: what it converts itself to fp32 stays so until it converts it back,
    other results are as wide as their arguments."""
    return settled(_forward(graph, number, Lists(keeps=frozenset(("batch_norm",)))))


def _forward(graph: Graph, number: str, lists: Lists) -> Graph:
    blocks: list[Block] = []
    handed: list[str] | None = None
    for block in graph.blocks:
        if block.phase != "forward":
            blocks.append(block)
            continue
        made, handed = _block(graph, block, handed, number, lists)
        blocks += made
    return graph.replace(blocks=tuple(blocks))


def _block(
    graph: Graph, block: Block, handed: list[str] | None, number: str, lists: Lists
) -> tuple[list[Block], list[str]]:
    """The block in the formats it receives; instances are taken out of the fold until it hands on what it took."""
    made: list[Block] = []
    for peeled in range(4):
        cast, given = _cast(graph, block, handed, number, lists)
        count = block.count.constant
        taken = [cast.tensors[name].dtype for name in cast.inputs]
        settled = not block.inputs or given[: len(taken)] == taken
        if settled or not isinstance(count, int) or count <= 1:
            return [*made, cast], given
        head, _ = _cast(graph, _some(block, f"{block.name}.{peeled}", 1, 0), handed, number, lists)
        made.append(head)
        block, handed = _some(block, block.name, count - 1, 1), given
    cast, given = _cast(graph, block, handed, number, lists)
    return [*made, cast], given


def _some(block: Block, name: str, count: int, start: int) -> Block:
    part = some(block, start, count)
    assert part is not None
    return dataclasses.replace(part, name=name)


def _cast(graph: Graph, block: Block, handed: list[str] | None, number: str, lists: Lists) -> tuple[Block, list[str]]:
    edit = Edit(graph, block)
    for position, name in enumerate(block.inputs):
        if handed is not None and position < len(handed) and edit.tensors[name].dtype in FLOATS:
            edit.tensors[name] = dataclasses.replace(edit.tensors[name], dtype=handed[position])
    region = _Region(edit, number, lists)
    ops = tuple(new for op in block.ops for new in region.visit(op))
    made = dataclasses.replace(block, ops=ops, tensors=edit.tensors)
    return made, [edit.tensor(name).dtype for name in block.outputs]


class _Region:
    """One autocast region over one block instance."""

    def __init__(self, edit: Edit, number: str, lists: Lists) -> None:
        self.edit, self.number, self.lists = edit, number, lists
        self.weights: dict[str, str] = {}

    def visit(self, op: Op) -> list[Op]:
        lists, fn = self.lists, op.fn
        if fn == "cast" and "to" in op.attrs:
            return [self._result(op, self.number if op.attrs["to"] == "low" else "fp32")]
        if op.attrs.get("uncast"):
            return self._plain(op)
        if op.attrs.get("lower") or fn in lists.lower:
            return self._in(op, self.number, self.number)
        if fn in lists.full:
            return self._in(op, "fp32", "fp32")
        if fn in lists.full_inside:
            return [self._result(op, "fp32")]
        if fn == "cast":
            return [op]
        widest = self._widest(op)
        if widest is not None and fn in lists.widest:
            return self._in(op, widest, widest)
        return self._plain(op)

    def _plain(self, op: Op) -> list[Op]:
        """In what comes; results as wide as the widest argument, or as the first where the function keeps it."""
        widest = self._widest(op)
        if widest is None:
            return [op]
        if op.attrs.get("in_place") or op.fn in self.lists.keeps or (op.kind == "norm" and op.attrs.get("uncast")):
            return [self._result(op, self._first(op))]
        return [self._result(op, widest, widest)]

    def _dtype(self, operand: Operand) -> str:
        return self.edit.tensor(operand.tensor).dtype

    def _widest(self, op: Op) -> str | None:
        """Of its floating-point arguments; single numbers do not count beside tensors."""
        found = [r for r in op.reads if self._dtype(r) in FLOATS]
        tensors = [r for r in found if self.edit.tensor(r.tensor).elements.constant != 1] or found
        return max((self._dtype(r) for r in tensors), key=WIDTH.__getitem__, default=None)

    def _first(self, op: Op) -> str:
        """The first argument's format, or that of what an in-place call overwrites in part."""
        kept = [r for r in op.reads if r.elements is not None and r.elements.constant == 0]
        return next(self._dtype(r) for r in (*kept, *op.reads) if self._dtype(r) in FLOATS)

    def _in(self, op: Op, number: str, result: str) -> list[Op]:
        """Casts of what comes in another format, then the op."""
        made: list[Op] = []
        found: dict[int, str] = {}
        for position, read in enumerate(op.reads):
            tensor = self.edit.tensor(read.tensor)
            if tensor.dtype == number or tensor.dtype not in FLOATS:
                continue
            if read.elements is not None and read.elements.constant == 0:
                continue
            if read.tensor in self.weights and number == self.number and read.elements is None:
                found[position] = self.weights[read.tensor]
                continue
            size = self.edit.touched(read)
            name = self.edit.activation(f"{read.tensor}.{number}", size, number, tensor.needs_grad)
            orders = op.attrs.get("orders", ())
            order = orders[position] if position < len(orders) else ""
            attrs = {"autocast": True, **({"orders": (order,), "out_orders": (order.strip("*"),)} if order else {})}
            made.append(
                self.edit.op(
                    f"{read.tensor}.cast" if tensor.cls == "weight" else f"{op.name}.cast", "copy", "cast", op,
                    reads=(read,), writes=(Operand(name),), work=BlockBuilder.element_work("cast", size), attrs=attrs,
                )
            )  # fmt: skip
            found[position] = name
            if tensor.cls == "weight" and number == self.number and read.elements is None:
                self.weights[read.tensor] = name
        return [*made, self._result(with_reads(op, found) if found else op, result, number)]

    def _result(self, op: Op, number: str, multiply: str | None = None) -> Op:
        """The op with its floating-point results, and its products, in a format."""
        for write in op.writes:
            tensor = self.edit.tensor(write.tensor)
            if tensor.dtype in FLOATS and tensor.dtype != number and tensor.persistent is None:
                self.edit.tensors[write.tensor] = dataclasses.replace(tensor, dtype=number)
        changes: dict[str, object] = {}
        if multiply is not None and any(w.unit == "matmul" and w.format != multiply for w in op.work):
            changes["work"] = tuple(
                dataclasses.replace(w, format=multiply) if w.unit == "matmul" and w.format in FLOATS else w
                for w in op.work
            )
            facts: Mapping[str, object] = {
                k: multiply for k in ("format", "stored", "weights", "activations") if op.attrs.get(k) in FLOATS
            }
            if facts:
                changes["attrs"] = {**op.attrs, **facts}
        return dataclasses.replace(op, **changes) if changes else op  # type: ignore[arg-type]


__all__ = ["autocast", "promoted"]
