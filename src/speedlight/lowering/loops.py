"""Fusion as a compiler of loops does it: pointwise functions and reductions of one iteration space become one kernel.

Every op starts as a group of its own, in order; a loop then merges with the groups that made what it reads where

* they run equally often;
* their spaces agree: equal elements; or a reduction's elements, or its rows (an epilogue on reduced values); or a smaller
  pointwise function that only this one reads (it is computed again for each element, from registers or a cache);
* no group outside depends on the one and is needed by the other.

Last, loops of one space that read one tensor and do not depend on each other merge side by side. A product takes pointwise
functions of its result's space as its epilogue where the stack says so.

A fused group reads what no member wrote and writes what someone outside needs: :func:`.lower.lower` counts its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._foundation.expr import Expr, compile_tape
from ..graph.ir import ZERO, Block, Graph, Op, Operand
from ..stacks.stack import Loops

# One point at which sizes are compared: a step of one group, where no size of its own is stated.
STEP = {
    "tokens": 37.0, "seqs": 1.0, "logits": 1.0, "groups": 1.0, "caching": 1.0, "training": 0.0, "tp": 1.0, "ep": 1.0,
    "dp": 1.0, "pp": 1.0, "cp": 1.0,
}  # fmt: skip
GROUP = {"count": 1.0, "new": 37.0, "cached": 0.0}
LARGEST = 64  # ops of one kernel (Inductor's max_fusion_size)


@dataclass(slots=True)
class _Group:
    """Ops of one kernel. ``before`` are the ops that must have run, as bits; so are the ``members``.

    Attributes:
        total, rows: the iteration space: elements, and rows where something is reduced, else 0.
        loop: not a product.
    """

    ops: list[int]
    members: int
    before: int
    total: float
    rows: float
    loop: bool
    epilogue: int = 0


def grouped(graph: Graph, block: Block, ops: Sequence[Op], loops: Loops) -> list[list[Op]]:
    """The block's ops by kernel, in an order in which they can run."""
    return _Planner(graph, block, ops, loops).groups()


class _Planner:
    def __init__(self, graph: Graph, block: Block, ops: Sequence[Op], loops: Loops) -> None:
        self.ops, self.loops = ops, loops
        self.read, self.written, spaces = _sizes(graph, block, ops)
        self.outputs = set(block.outputs)
        self.maker: dict[str, int] = {}
        self.readers: dict[str, list[int]] = {}
        self.group_of: list[_Group] = []
        self.spaces = spaces
        for index, op in enumerate(ops):
            for tensor in dict.fromkeys(r.tensor for r in op.reads):
                self.readers.setdefault(tensor, []).append(index)

    def groups(self) -> list[list[Op]]:
        for index, op in enumerate(self.ops):
            self._enter(index, op)
        self._side_by_side()
        found = {id(g): g for g in self.group_of}
        # Whoever depends on a group comes after all that the group itself depends on.
        ordered = sorted(found.values(), key=lambda g: (g.before.bit_count(), g.ops[0]))
        return [[self.ops[i] for i in sorted(g.ops)] for g in ordered]

    def _enter(self, index: int, op: Op) -> None:
        role = self._role(op)
        total, rows = self.spaces[index]
        before = 0
        makers: dict[int, float] = {}
        for position, read in enumerate(op.reads):
            made = self.maker.get(read.tensor)
            if made is not None:
                group = self.group_of[made]
                before |= group.before | group.members
                makers[made] = makers.get(made, 0.0) + self.read[index][position]
        group = _Group([index], 1 << index, before, total, rows if role == "reduction" else 0.0, role != "product")
        self.group_of.append(group)
        for operand in op.reads if op.kind == "collective" else op.writes:  # a message completes what it reads
            self.maker[operand.tensor] = index
        if role in ("product", "closed"):
            return
        for made, size in sorted(makers.items(), key=lambda item: (-item[1], -item[0])):
            if size > 0:
                self._merge(self.group_of[made], self.group_of[index])

    def _role(self, op: Op) -> str:
        """What an op is to the planner: by its function, else by its kind. In training a batch norm is a library's."""
        loops = self.loops
        roles = (("closed", loops.closed), ("reduction", loops.reductions), ("pointwise", loops.pointwise))
        for name in (op.fn, op.kind):
            for role, names in roles:
                if name in names and not op.attrs.get("training"):
                    return role
        return "product"

    def _merge(self, first: _Group, second: _Group) -> None:
        """Join two groups, the second a loop that reads what the first made, where all conditions hold."""
        if first is second or len(first.ops) + len(second.ops) > LARGEST:
            return
        if not second.loop or self.ops[first.ops[0]].count != self.ops[second.ops[0]].count:
            return
        space = self._epilogue(first, second) if not first.loop else self._space(first, second)
        if space is None or self._between(first, second) or self._between(second, first):
            return
        self._join(first, second, space)

    def _epilogue(self, product: _Group, loop: _Group) -> tuple[float, float] | None:
        """A product takes one pointwise function more."""
        lead = self.ops[product.ops[0]]
        allowed = self.loops.epilogues.get(lead.kind, ())
        if len(loop.ops) != 1 or loop.rows or loop.total != product.total:
            return None
        op = self.ops[loop.ops[0]]
        if product.epilogue >= self.loops.longest_epilogue or not (op.fn in allowed or "*" in allowed):
            return None
        return product.total, 0.0

    def _space(self, first: _Group, second: _Group) -> tuple[float, float] | None:
        """The iteration space both fit, or None."""
        if not self.loops.among:
            return None
        if first.rows and second.rows:
            return (first.total, first.rows) if (first.total, first.rows) == (second.total, second.rows) else None
        if first.total == second.total:
            return first.total, first.rows or second.rows
        if first.rows and first.rows == second.total:
            return first.total, first.rows
        if not first.rows and first.total < second.total and self._read_by(first, second):
            return second.total, second.rows
        return None

    def _read_by(self, first: _Group, second: _Group) -> bool:
        """Does only the second read what the first makes?"""
        for index in first.ops:
            for write in self.ops[index].writes:
                if write.tensor in self.outputs:
                    return False
                for reader in self.readers.get(write.tensor, ()):
                    if not (first.members | second.members) >> reader & 1:
                        return False
        return True

    def _between(self, first: _Group, second: _Group) -> bool:
        """Does something outside depend on the first and is needed by the second?"""
        outside = second.before & ~first.members & ~second.members
        start = min(first.ops)
        return any(g.before & first.members for g in self._those(outside >> start, start))

    def _those(self, bits: int, start: int) -> Iterable[_Group]:
        seen: set[int] = set()
        while bits:
            low = bits & -bits
            group = self.group_of[start + low.bit_length() - 1]
            if id(group) not in seen:
                seen.add(id(group))
                yield group
            bits ^= low

    def _join(self, first: _Group, second: _Group, space: tuple[float, float]) -> None:
        first.ops += second.ops
        first.members |= second.members
        first.before = (first.before | second.before) & ~first.members
        first.total, first.rows = space
        first.epilogue += 0 if first.loop else 1
        for index in second.ops:
            self.group_of[index] = first
        late = first.before | first.members
        for group in {id(g): g for g in self.group_of[min(first.ops) :]}.values():
            if group is not first and group.before & first.members:
                group.before |= late

    def _side_by_side(self) -> None:
        """Loops over one space that read one tensor and do not depend on each other."""
        for indices in self.readers.values():
            if len(indices) < 2:
                continue
            loops = list({id(g): g for g in (self.group_of[i] for i in indices) if g.loop}.values())
            for later in loops[1:]:
                first = loops[0]
                if (
                    first is later
                    or self.ops[first.ops[0]].count != self.ops[later.ops[0]].count
                    or later.total != first.total
                    or self._closed(later)
                    or self._closed(first)
                ):
                    continue
                related = later.before & first.members or first.before & later.members
                space = None if related else self._space(first, later)
                if space is not None and len(first.ops) + len(later.ops) <= LARGEST:
                    self._join(first, later, space)

    def _closed(self, group: _Group) -> bool:
        return any(self._role(self.ops[i]) == "closed" for i in group.ops)


def _sizes(
    graph: Graph, block: Block, ops: Sequence[Op]
) -> tuple[list[list[float]], list[list[float]], list[tuple[float, float]]]:
    """Numbers at one point: elements of each read and write, and each op's iteration space, all on one tape."""
    exprs: list[Expr] = []
    for op in ops:
        exprs += [_elements(graph, block, o) for o in (*op.reads, *op.writes)]
        exprs.append(op.dims.get("rows", ZERO))
    env: Mapping[str, float] = {
        **STEP, **{n: float(d.size) for n, d in graph.dims.items()},
        **{n: float(v or 2) for n, v in graph.symbols.items()},
    }  # fmt: skip
    tape = compile_tape(exprs)
    values = iter(tape.run({**dict.fromkeys(tape.symbols, 2.0), **env}, [GROUP]))
    reads, writes, spaces = [], [], []
    for op in ops:
        reads.append([float(next(values)) for _ in op.reads])
        writes.append([float(next(values)) for _ in op.writes])
        rows = float(next(values))
        largest = max(writes[-1], default=0.0)
        if op.kind in ("norm", "softmax"):
            spaces.append((largest, rows))
        elif op.kind == "reduction":
            spaces.append((max(reads[-1], default=0.0), largest))
        else:
            spaces.append((largest, 0.0))
    return reads, writes, spaces


def _elements(graph: Graph, block: Block, operand: Operand) -> Expr:
    return graph.tensor(block, operand.tensor).elements if operand.elements is None else operand.elements
