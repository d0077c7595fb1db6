"""Memory of an inference step that keeps classes outside the device: what stays, what lies elsewhere, what is under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from ..._foundation.arrays import Value, maximum, minimum
from ..._foundation.expr import Expr, Tape, compile_tape, total
from ...graph.ir import Graph
from ...graph.stats import persistent_tensors
from ...lowering.kernels import Kernel, KernelValues, Program
from ...lowering.ledger import Ledger
from ...stacks.transfers import Transfers
from ...workload.places import CLASSES, Place

ROLES: Mapping[str, str] = {"host": "host", "disk": "storage", "memory": "main"}
_LEDGER = {"weights": "weights", "experts": "weights", "kv": "kv"}  # places' classes in the ledger's words


def class_of(kernel: Kernel, cls: str, apart: bool) -> str:
    """The place's class that an access of a kernel belongs to; "" for what no place keeps.

    Args:
        apart: experts have a place of their own.
    """
    if cls in ("weight", "constant"):
        return "experts" if apart and kernel.kind == "moe" else "weights"
    return "kv" if cls in ("kv", "state") else ""


def moved_of(kernel: Kernel, values: KernelValues, cls: str, apart: bool) -> tuple[Value, Value]:
    """Bytes of a class that one instance of a kernel (reads, writes)."""
    into: Value = 0.0
    out: Value = 0.0
    for access, size in zip(kernel.accesses, values.bytes, strict=True):
        if class_of(kernel, access.cls, apart) != cls:
            continue
        if access.write:
            out = out + size
        else:
            into = into + size
    return into, out


@lru_cache(maxsize=64)
def _stored(graph: Graph, apart: bool) -> Tape:
    """Bytes kept of each of :data:`CLASSES`."""
    chosen = {id(graph.tensor(b, r.tensor)) for b, op in graph.ops() if op.kind == "moe" for r in op.reads}
    sums: dict[str, list[Expr]] = {name: [] for name in CLASSES}
    for block, tensor in persistent_tensors(graph):
        size = tensor.kept_bytes * (block.count if block is not None else 1)
        if tensor.cls in ("weight", "constant"):
            sums["experts" if id(tensor) in chosen and apart else "weights"].append(size)
        elif tensor.cls in ("kv", "state"):
            sums["kv"].append(size)
    return compile_tape([total(sums[name]) for name in CLASSES])


def with_places(
    ledger: Ledger, graph: Graph, program: Program, places: Sequence[Place], ways: Transfers, room: Mapping[str, Value],
    env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]],
) -> Ledger:  # fmt: skip
    """The ledger with shares of classes elsewhere, and the buffers what is moved passes through.

    Args:
        room: tier role → bytes a device may take there.
        env, groups: bindings of the graph's symbols.
    """
    apart = any(place.cls == "experts" for place in places)
    cells = _stored(graph, apart).run(env, groups)
    kept = dict(zip(CLASSES, cells, strict=True))
    by_class = dict(ledger.by_class)
    elsewhere: dict[str, Value] = {}
    for place in places:
        if place.tier == "memory":
            continue  # it stays where it is
        away = kept[place.cls] * place.share
        name, role = _LEDGER[place.cls], ROLES[place.tier]
        by_class[name] = maximum(by_class[name] - away, 0.0)
        elsewhere[role] = elsewhere.get(role, 0.0) + away * place.packed
        if place.way == "moved":
            pieces = 2.0 if ways.ahead else 1.0  # the one in use, and the next one where it comes ahead
            most: Value = 0.0
            for layer in layers(program, place, apart, env, groups):
                most = maximum(most, layer)
            by_class[name] = by_class[name] + minimum(pieces * most / place.slices, away)
    return Ledger(by_class, ledger.capacity, elsewhere, {role: room[role] for role in elsewhere})


def layers(
    program: Program, place: Place, apart: bool, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]
) -> Iterator[Value]:
    """Per block, bytes of a place's class that one layer moves."""
    for block, (_, kernels) in zip(program.blocks, program.evaluate(env, groups), strict=True):
        moved: Value = 0.0
        for kernel, values in zip(block.kernels, kernels, strict=True):
            into, out = moved_of(kernel, values, place.cls, apart)
            moved = moved + maximum(into, out) * place.used * values.count
        yield moved


def joined(one: Ledger, other: Ledger) -> Mapping[str, Value]:
    """The larger of what two moments keep elsewhere."""
    return {
        role: maximum(one.elsewhere.get(role, 0.0), other.elsewhere.get(role, 0.0))
        for role in {**one.elsewhere, **other.elsewhere}
    }
