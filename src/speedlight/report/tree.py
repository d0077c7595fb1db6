"""Rows as a tree of modules: ``model.layers.*.self_attn.o_proj`` → model › layers.* › self_attn › o_proj."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .view import Row, merged

MOST_DEPTH = 12
_FOLD = re.compile(r"\.(?=(?:\*|\d+)(?:\.|$))")  # a list and the place in it are one step: layers.*, stages.0


@dataclass(frozen=True, slots=True)
class Node:
    """A module, or an op at the leaves.

    Attributes:
        row: sums of everything below.
        children: largest time first; empty for an op.
    """

    name: str
    row: Row
    children: tuple[Node, ...] = ()


def steps_of(path: str) -> list[str]:
    """The modules a path passes through, a list with its index as one."""
    joined = _FOLD.sub("\x00", path)
    steps = [s.replace("\x00", ".") for s in joined.split(".") if s]
    return steps if len(steps) <= MOST_DEPTH else [*steps[: MOST_DEPTH - 1], ".".join(steps[MOST_DEPTH - 1 :])]


def tree(rows: Sequence[Row]) -> list[Node]:
    """Top modules, largest time first; a chain of only children becomes one node (``model.norm``).

    Sections (the steps of a call, the passes of a training step) are the top level where there are several.
    """
    sections = {row.section for row in rows}
    placed = [([r.section, *steps_of(r.path)] if len(sections) > 1 else steps_of(r.path), r) for r in rows]
    return _grow([(steps or [r.name], r) for steps, r in placed])


def _grow(placed: list[tuple[list[str], Row]]) -> list[Node]:
    groups: dict[str, list[tuple[list[str], Row]]] = {}
    for steps, row in placed:
        groups.setdefault(steps[0], []).append((steps[1:], row))
    nodes = []
    for name, members in groups.items():
        rows = [row for _, row in members]
        inner = [(steps, row) for steps, row in members if steps]
        own = [row for steps, row in members if not steps]
        if not inner and len(own) == 1:
            nodes.append(Node(name, own[0]))
            continue
        # An op that carries the module's own path (its gap, a captured leaf) sits beside the module's children.
        children = (*_grow(inner), *(Node(row.name.rsplit(".", 1)[-1], row) for row in own))
        if len(children) == 1 and inner:
            only = children[0]
            nodes.append(Node(f"{name}.{only.name}", only.row, only.children))
            continue
        ordered = tuple(sorted(children, key=lambda n: -n.row.share))
        nodes.append(Node(name, merged(rows, name), ordered))
    return sorted(nodes, key=lambda n: -n.row.share)


def walk(nodes: Sequence[Node], least: float = 0.0, depth: int = 0) -> Iterator[tuple[int, Node, bool]]:
    """(depth, node, whether nothing is shown below it), downwards.

    Siblings under ``least`` of the time come as one ``… k more``, and not at all where that would be all there is.
    """
    small = [n for n in nodes if n.row.share < least]
    hidden = {id(n) for n in small} if len(small) > 1 else set()
    for node in nodes:
        if id(node) in hidden:
            continue
        below = list(walk(node.children, least, depth + 1)) if any(n.row.share >= least for n in node.children) else []
        yield depth, node, not below
        yield from below
    if hidden:
        count = sum(n.row.members for n in small)
        yield depth, Node(f"… {count} more", merged([n.row for n in small], f"… {count} more")), True
