"""What Python keeps alive beyond its last use: the arguments of modules that are being called.

``x = self.act(self.fc1(x))`` frees ``x`` after ``fc1``, but whoever called this module holds its argument until it returns: a block's
input lives through the block, and through every ``Sequential`` around it. Paths say which modules an op runs in, so what an op reads
inside a module and somebody made outside lives until the module's last op. Compilers of graphs and runtimes of files plan buffers by
last use, and hold nothing.

What a module's own code keeps in local variables is not known: a forward that names its intermediate results holds more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .._foundation.expr import Expr
from ..graph.ir import Block, Graph


@dataclass(slots=True)
class Held:
    """What callers hold while a block's instance runs.

    Attributes:
        until: the block's own tensor → index of the op it lives to at least.
        around: (bytes, index of the last op) of what calls around the block hold.
    """

    until: dict[str, int] = field(default_factory=dict)
    around: list[tuple[Expr, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Consecutive ops of one module call, counted over all forward blocks; ``depth`` modules are around it."""

    first: int
    last: int
    depth: int


def held(graph: Graph) -> Mapping[str, Held]:
    """Forward block → what is held; empty for graphs that are not a module's own code."""
    if graph.attrs.get("kind") != "module":
        return {}
    blocks = [block for block in graph.blocks if block.phase == "forward"]
    starts, scopes = _scopes(blocks)
    found = {block.name: Held() for block in blocks}
    for number, block in enumerate(blocks):
        begin = starts[number]
        arrived: dict[str, int] = {}
        made = dict.fromkeys(block.inputs, -1)
        for index, op in enumerate(block.ops):
            for write in op.writes:
                made.setdefault(write.tensor, index)
        for index, op in enumerate(block.ops):
            steps = op.path.split(".")
            instance = steps.index("*") if "*" in steps and block.count.constant != 1 else len(steps)
            for read in op.reads:
                tensor = block.tensors.get(read.tensor)
                if tensor is None or tensor.persistent is not None or read.tensor not in made:
                    continue
                birth = begin + made[read.tensor]
                calls = [s for s in scopes[begin + index] if s.first > birth]
                end = max((s.last for s in calls), default=begin + index)
                here = found[block.name].until
                here[read.tensor] = max(here.get(read.tensor, 0), min(end - begin, len(block.ops) - 1))
                if made[read.tensor] < 0:
                    outer = max((s.last for s in calls if s.depth < instance), default=-1)  # of the instance's own call
                    arrived[read.tensor] = max(arrived.get(read.tensor, -1), outer)
        for name, end in arrived.items():
            if end < begin + len(block.ops) - 1:
                continue  # gone before the block is
            size = block.tensors[name].bytes
            if block.count.constant != 1:  # the first instance's input is held beside the others' own
                found[block.name].around.append((size, len(block.ops) - 1))
            for later, start in zip(blocks[number + 1 :], starts[number + 1 :], strict=True):
                if start <= end:
                    found[later.name].around.append((size, min(end - start, len(later.ops) - 1)))
    return found


def _scopes(blocks: list[Block]) -> tuple[list[int], list[list[_Scope]]]:
    """Where each block starts, and the calls each op runs in."""
    starts: list[int] = []
    paths: list[list[str]] = []
    for block in blocks:
        starts.append(len(paths))
        paths += [op.path.split(".") if op.path else [] for op in block.ops]
    around: list[list[_Scope]] = [[] for _ in paths]
    open_at: list[int] = []  # per depth, the first op of the call that is running
    for index, path in enumerate([*paths, []]):
        before = paths[index - 1] if index else []
        common = 0
        while common < min(len(before), len(path)) and before[common] == path[common]:
            common += 1
        for depth in range(len(before) - 1, common - 1, -1):
            scope = _Scope(open_at[depth], index - 1, depth)
            for i in range(scope.first, index):
                around[i].append(scope)
            del open_at[depth]
        open_at += [index] * (len(path) - len(open_at))
    return starts, around
