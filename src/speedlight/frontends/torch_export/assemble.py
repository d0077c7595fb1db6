"""Recorded ops → a graph: names, operands, classes. One block; :mod:`.fold` folds what repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...graph.ir import Block, Graph, Op, Operand, Persistent, Tensor
from .recorded import Logical, Recorded, Recording, Use

KEPT_CLASSES = ("weight", "constant")


def assemble(
    name: str, recorder: Recording, outputs: Sequence[int], leaves: Collection[str], symbols: Mapping[str, int | None],
    attrs: Mapping[str, Any],
) -> Graph:  # fmt: skip
    """The graph of a trace.

    Args:
        recorder: ops and logical tensors.
        outputs: logical tensors the module returns.
        leaves: paths of modules without children: an op that is all such a module does has its name.
        symbols, attrs: the graph's own.
    """
    names = _op_names(recorder.ops, leaves)
    tensor_names = _tensor_names(recorder, names)
    tensors: dict[str, Tensor] = {}
    shared: dict[str, Tensor] = {}
    users: dict[int, set[str]] = {}
    for recorded in recorder.ops:
        for use in (*recorded.reads, *recorded.writes):
            users.setdefault(use.tensor, set()).add(recorded.path)
    for index, logical in enumerate(recorder.logicals.tensors):
        used = index in users
        if not used and not (logical.cls == "weight" or (logical.cls in ("constant", "input") and logical.name)):
            continue
        tensor = _tensor(tensor_names[index], logical)
        once = logical.cls == "input" or (logical.cls == "weight" and len(users.get(index, ())) > 1)
        (shared if once else tensors)[tensor.name] = tensor
    ops = tuple(_op(op, names[i], tensor_names) for i, op in enumerate(recorder.ops))
    written = {w.tensor for op in ops for w in op.writes}
    results = [
        tensor_names[i] for i in dict.fromkeys(outputs) if tensor_names[i] in written or tensor_names[i] in shared
    ]
    block = Block("model", ops, tensors, outputs=tuple(results))
    return Graph(name, (block,), shared, symbols=symbols, attrs=attrs)


def _op_names(ops: Sequence[Recorded], leaves: Collection[str]) -> list[str]:
    """``layer1.0.conv1`` where that module does one thing, else ``layer1.0.add``; numbered where that repeats."""
    does: dict[str, set[str]] = {}
    for op in ops:
        does.setdefault(op.path, set()).add(op.facts.fn)
    taken: Counter[str] = Counter()
    names = []
    for op in ops:
        if op.path in leaves and len(does[op.path]) == 1:
            name = op.path
        else:
            name = f"{op.path}.{op.facts.fn}" if op.path else op.facts.fn
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    clashes = [n for n, count in Counter(names).items() if count > 1]
    if clashes:  # `add_2` as a module's own name beside our numbering
        names = [f"{n}#{i}" if n in clashes else n for i, n in enumerate(names)]
    return names


def _tensor_names(recorder: Recording, op_names: Sequence[str]) -> list[str]:
    found: dict[int, str] = {i: t.name for i, t in enumerate(recorder.logicals.tensors) if t.name is not None}
    taken = set(found.values())
    for op, name in zip(recorder.ops, op_names, strict=True):
        for use in op.writes:
            if use.tensor not in found:
                found[use.tensor] = _free(f"{name}.out", taken)
    return [found[i] if i in found else _free(f"constant_{i}", taken) for i in range(len(recorder.logicals.tensors))]


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}{number}"
    taken.add(free)
    return free


def _tensor(name: str, logical: Logical) -> Tensor:
    kept = Persistent(logical.elements) if logical.cls in KEPT_CLASSES else None
    return Tensor(name, logical.elements, logical.dtype, logical.cls, kept, logical.needs_grad)


def _op(recorded: Recorded, name: str, tensors: Sequence[str]) -> Op:
    facts = recorded.facts
    attrs = dict(facts.attrs)
    if recorded.in_place:
        attrs["in_place"] = True  # its result takes the memory of what it overwrites
    for fact, orders in (("orders", recorded.orders), ("out_orders", recorded.out_orders)):
        if any(orders):
            attrs[fact] = orders  # what lies in memory in another way than row by row
    return Op(
        name=name,
        kind=facts.kind,
        fn=facts.fn,
        path=recorded.path,
        reads=tuple(_operand(u, tensors) for u in recorded.reads),
        writes=tuple(_operand(u, tensors) for u in recorded.writes),
        work=facts.work,
        dims=facts.dims,
        span=facts.span,
        attrs=attrs,
    )


def _operand(use: Use, tensors: Sequence[str]) -> Operand:
    return Operand(tensors[use.tensor], use.elements, use.access, use.granule, reuse=use.reuse)
