"""Nodes that are no operators: constants, branches, loops, sequences, calls of the file's own functions.

A loop whose number of rounds is known is walked once and each of its ops counted that often, the tensors it carries
keeping their sizes. A branch whose condition is not known is priced at its dearer side, and the answer says so. Other
loops are unknown: their cost hangs on data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._foundation.errors import BadFile
from ..._foundation.expr import evaluate
from .held import Held, Home
from .node import Node
from .paths import path_of
from .reading import STANDARD
from .sizes import BATCH, Poly, Size, product
from .values import MOST, Unsized, array
from .wire import MAX_DEPTH

if TYPE_CHECKING:
    from .walk import Frame


def special(node: Node) -> bool:
    """Whether this module dealt with the node."""
    function = node.walk.model.functions.get((node.domain, node.op))
    if function is not None:
        call(node, function)
        return True
    handler = _SPECIAL.get(node.op) if node.domain in STANDARD else None
    if handler is not None:
        handler(node)
    return handler is not None


def captured(graph: Any, depth: int = 0) -> Iterator[str]:
    """Names that the nodes of an inner graph, or of graphs in it, read."""
    if depth > MAX_DEPTH:
        raise BadFile(f"graphs are nested deeper than {MAX_DEPTH} levels", expected="a flatter model")
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from captured(inner, depth + 1)
    for result in graph.output:
        yield result.name


def _inner(node: Node, *, outer: bool, repeat: int = 1) -> Frame:
    from .walk import Frame

    frame = node.frame
    if frame.depth >= MAX_DEPTH:
        raise BadFile(
            f"graphs and functions are nested deeper than {MAX_DEPTH} levels at {node.where}",
            expected="a flatter model",
        )
    path = path_of(node.proto)
    return Frame(
        outer=frame if outer else None, attributes=frame.attributes, repeat=frame.repeat * repeat, depth=frame.depth + 1,
        path=frame.path if path is None else path,
    )  # fmt: skip


def _bind(frame: Frame, name: str, held: Held | None) -> None:
    if name and held is not None:
        frame.names[name] = dataclasses.replace(held, name=held.name)


def call(node: Node, function: Any) -> None:
    """A function of the file, spelled out in place."""
    frame = _inner(node, outer=False)
    given = {a.name: a for a in function.attribute_proto}
    for attribute in node.proto.attribute:
        source = attribute
        if attribute.ref_attr_name:
            source = node.frame.attributes.get(attribute.ref_attr_name)
        if source is not None:
            given[attribute.name] = source
    frame.attributes = given
    for position, name in enumerate(function.input):
        _bind(frame, name, node.inputs[position] if position < len(node.inputs) else None)
    nodes = list(function.node)
    node.walk.index_readers(nodes, list(function.output), frame)
    node.walk.nodes(nodes, frame)
    _hand_back(node, frame, function.output)


def _hand_back(node: Node, frame: Frame, results: Sequence[str]) -> None:
    for position, name in enumerate(results):
        if node.wants(position):
            held = frame.get(name)
            if held is None:
                raise BadFile(f"{node.where} returns {name[:80]!r}, which nothing in it makes")
            node.frame.set(node.proto.output[position], held)


def _body(node: Node, graph: Any, frame: Frame) -> None:
    nodes = list(graph.node)
    node.walk.load(graph, frame, nodes)
    node.walk.nodes(nodes, frame)


def constant(node: Node) -> None:
    name = node.proto.output[0]
    tensor = node.attr("value")
    if tensor is not None:
        held = node.walk.stored(tensor, name)
        node.frame.set(name, held)
        return
    for field, kind in (
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", np.float64),
        ("value_floats", np.float64),
    ):
        value = node.attr(field)
        if value is not None:
            found = array(value, kind)
            held = Held(name, "int64" if kind is np.int64 else "fp32", tuple(found.shape), constant=True)
            held.value = found if found.size <= MOST else None
            node.frame.set(name, held)
            return
    sparse = node._attributes.get("sparse_value")
    shape: tuple[Size, ...] = tuple(int(d) for d in sparse.sparse_tensor.dims) if sparse is not None else ()
    node.frame.set(name, Held(name, "fp32" if sparse is not None else "int64", shape, constant=True))


def branch(node: Node) -> None:
    """If(condition): the side that is taken, else the dearer one."""
    sides = {True: node.attr("then_branch"), False: node.attr("else_branch")}
    if sides[True] is None or sides[False] is None:
        raise BadFile(f"{node.where} lacks a branch", expected="then_branch and else_branch")
    condition = node.walk.value_of(node.held(0))
    if condition is not None and condition.dtype != object and condition.size == 1:
        taken = bool(condition.ravel()[0])
    else:
        taken = _dearer(node, sides)
        side = "then" if taken else "else"
        node.walk.notes.setdefault(
            f"branch {node.proto.name[:80] or node.proto.output[0][:80]}", f"{side}, the dearer side"
        )
    frame = _inner(node, outer=True)
    _body(node, sides[taken], frame)
    _hand_back(node, frame, [o.name for o in sides[taken].output])


def _dearer(node: Node, sides: dict[bool, Any]) -> bool:
    """Whether ``then`` has more FLOPs (or, with equal ones, more ops); walked on the side, without keeping it."""
    weights = {}
    for side, graph in sides.items():
        walk = node.walk
        before, tensors = len(walk.ops), len(walk.logicals.tensors)
        homes = [
            h
            for f in _frames(node.frame)
            for h in (x.home for x in f.names.values())
            if h is not None and h.index is None
        ]
        unknown, notes = dict(walk.unknown), dict(walk.notes)
        frame = _inner(node, outer=True)
        _body(node, graph, frame)
        flops = sum(float(evaluate(w.flops, {BATCH: walk.batch})) for op in walk.ops[before:] for w in op.facts.work)
        weights[side] = (flops, len(walk.ops) - before)
        del walk.ops[before:], walk.paths[before:], walk.logicals.tensors[tensors:]
        for home in homes:
            if home.index is not None and home.index >= tensors:
                walk.logicals.names.discard(home.name)
                home.index = None
        walk.unknown, walk.notes = unknown, notes
    return weights[True] >= weights[False]


def _frames(frame: Frame | None) -> Iterator[Frame]:
    while frame is not None:
        yield frame
        frame = frame.outer


def loop(node: Node) -> None:
    """Loop(rounds?, condition?, carried …): known rounds and a condition that stays true."""
    graph = node.attr("body")
    if graph is None or len(graph.input) < 2:
        raise BadFile(f"{node.where} lacks a body", expected="a body of two inputs and more")
    rounds = node.number(0) if node.has(0) else None
    if rounds is None or rounds > 10**9:
        raise Unsized(f"{node.where}: how often it runs is known only from data")
    carried = len(graph.input) - 2
    if rounds < 1:
        for position in range(len(node.proto.output)):
            if node.wants(position):
                if position < carried:
                    node.frame.set(node.proto.output[position], node.held(position + 2))
        return
    frame = _inner(node, outer=True, repeat=int(rounds))
    frame.names[graph.input[0].name] = Held(graph.input[0].name, "int64", ())
    frame.names[graph.input[1].name] = Held(graph.input[1].name, "bool", (), constant=True, value=np.asarray(True))
    for position in range(carried):
        _carry(node, frame, graph.input[position + 2].name, node.held(position + 2))
    _body(node, graph, frame)
    names = [o.name for o in graph.output]
    going_on = frame.get(names[0])
    if going_on is None or node.walk.value_of(going_on) is None:
        node.walk.notes.setdefault(
            f"loop {node.proto.name[:80] or node.proto.output[0][:80]}", f"all of its {int(rounds)} rounds"
        )
    _results(node, frame, names[1:], carried, int(rounds), [node.held(i + 2) for i in range(carried)])


def _carry(node: Node, frame: Frame, name: str, held: Held) -> None:
    """A carried tensor changes from round to round, so its numbers are not known inside; what it starts from is memory."""
    if held.items is not None:
        raise Unsized(f"{node.where} carries a sequence")
    if held.home is None and held.shape is not None and held.stored is None:
        held.home = Home(held.name, product(held.shape), held.dtype, "constant")
    frame.names[name] = dataclasses.replace(held, name=name, constant=False, value=None, proto=None)


def _results(node: Node, frame: Frame, names: Sequence[str], carried: int, rounds: int, before: Sequence[Held]) -> None:
    for position, name in enumerate(names):
        held = frame.get(name)
        if held is None:
            raise BadFile(f"{node.where} returns {name[:80]!r}, which nothing in it makes")
        if position < carried:
            if held.shape != before[position].shape:
                raise Unsized(f"{node.where} carries a tensor that grows from round to round")
            if node.wants(position):
                node.frame.set(
                    node.proto.output[position], dataclasses.replace(held, constant=False, value=None, proto=None)
                )
        elif node.wants(position):
            if held.shape is None:
                raise Unsized(f"{node.where} collects tensors of unknown size")
            out = node.proto.output[position]
            shape: tuple[Size, ...] = (rounds, *held.shape)
            home = Home(out, product(shape), held.dtype, "activation")
            made = Held(out, held.dtype, shape, home)
            node.frame.set(out, made)
            _collect(node, frame, held, made)


def _collect(node: Node, frame: Frame, held: Held, made: Held) -> None:
    """Each round writes its slice of the collected result."""
    from ..torch_export.calls import Facts, Touch

    inner = Node(node.walk, frame, node.proto, [held])
    piece = inner.view(0)
    facts = Facts("copy", "cat", reads=(piece,), writes=(Touch(inner.view_of(made), piece.elements),))
    node.walk.record(inner, facts)


def scan(node: Node) -> None:
    """Scan(states …, sequences …): as many rounds as the sequences are long."""
    graph = node.attr("body")
    if graph is None:
        raise BadFile(f"{node.where} lacks a body", expected="a body")
    shift = 1 if node.opset < 9 else 0  # opset 8 had an optional sequence_lens first, and a batch axis
    if shift:
        raise Unsized(f"{node.where}: Scan of opset 8")
    count = int(node.attr("num_scan_inputs", 1))
    states = len(node.inputs) - count
    axes = node.ints("scan_input_axes") or [0] * count
    if states < 0 or len(graph.input) != len(node.inputs) or len(axes) != count:
        raise BadFile(
            f"{node.where} has {len(node.inputs)} inputs for a body of {len(graph.input)}", expected="equally many"
        )
    lengths = [node.shape(states + i)[axes[i]] for i in range(count)]
    if not lengths or isinstance(lengths[0], Poly):
        raise Unsized(f"{node.where} runs as often as the batch is large")
    rounds = int(lengths[0])
    if rounds < 1:
        raise Unsized(f"{node.where} scans nothing")
    frame = _inner(node, outer=True, repeat=rounds)
    for i in range(states):
        _carry(node, frame, graph.input[i].name, node.held(i))
    for i in range(count):
        held, shape = node.held(states + i), list(node.shape(states + i))
        del shape[axes[i]]
        node.settle(held)
        frame.names[graph.input[states + i].name] = dataclasses.replace(
            held, shape=tuple(shape), part=(*held.part, "round"), value=None, proto=None, constant=False
        )
    _body(node, graph, frame)
    _results(node, frame, [o.name for o in graph.output], states, rounds, [node.held(i) for i in range(states)])


def sequence(node: Node) -> None:
    """SequenceConstruct, SequenceEmpty, SplitToSequence, SequenceInsert …: lists of tensors, which cost nothing."""
    name = node.proto.output[0]
    items: list[Held] | None = None
    if node.op == "SequenceConstruct":
        items = [h for h in node.inputs if h is not None]
    elif node.op == "SequenceEmpty":
        items = []
    elif node.op == "SequenceInsert":
        items = list(_items(node))
        place = node.number(2, len(items))
        if place is None:
            raise Unsized(f"{node.where}: where it inserts is known only from data")
        items.insert(int(place), node.held(1))
    elif node.op == "SequenceErase":
        items = list(_items(node))
        place = node.number(1, -1)
        if place is None or not items:
            raise Unsized(f"{node.where}: what it takes out is known only from data")
        items.pop(int(place))
    node.frame.set(name, Held(name, "fp32", None, constant=True, items=items))


def _items(node: Node) -> list[Held]:
    found = node.held(0).items
    if found is None:
        raise Unsized(f"{node.where}: the sequence is not known")
    return found


def sequence_at(node: Node) -> None:
    place, items = node.number(1), _items(node)
    if place is None or not -len(items) <= place < len(items):
        raise Unsized(f"{node.where}: which it takes is known only from data")
    node.frame.set(node.proto.output[0], items[int(place)])


def sequence_length(node: Node) -> None:
    name = node.proto.output[0]
    node.frame.set(name, Held(name, "int64", (), constant=True, value=np.asarray(len(_items(node)))))


def split_to_sequence(node: Node) -> None:
    shape = list(node.shape(0))
    axis = node.axis(len(shape))
    total = shape[axis]
    if node.has(1):
        stated = node.sizes(1)
        sizes = stated
        if node.rank(1) == 0:
            if isinstance(total, Poly) or isinstance(stated[0], Poly) or stated[0] < 1:
                raise Unsized(f"{node.where} cuts along the batch")
            sizes = [min(stated[0], total - i) for i in range(0, total, stated[0])]
    elif isinstance(total, Poly) or total > MOST:
        raise Unsized(f"{node.where} cuts along the batch")
    else:
        sizes = [1] * total
    keep = node.has(1) or bool(node.attr("keepdims", 1))
    held = node.held(0)
    node.settle(held)
    items = []
    for index, size in enumerate(sizes):
        after = [*shape[:axis], *([size] if keep else []), *shape[axis + 1 :]]
        items.append(
            dataclasses.replace(held, shape=tuple(after), part=(*held.part, axis, index), value=None, proto=None)
        )
    node.frame.set(node.proto.output[0], Held(node.proto.output[0], held.dtype, None, items=items))


def join_sequence(node: Node) -> None:
    """ConcatFromSequence, by the rule of Concat or of a stack."""
    items = _items(node)
    if not items or any(i.shape is None for i in items):
        raise Unsized(f"{node.where}: the sequence is not known")
    inner = Node(node.walk, node.frame, node.proto, list(items))
    shape = list(items[0].shape or ())
    if node.attr("new_axis", 0):
        axis = node.axis(len(shape) + 1)
        shape.insert(axis, len(items))
    else:
        axis = node.axis(len(shape))
        total: Size = 0
        for item in items:
            total = total + (item.shape or ())[axis]
        shape[axis] = total
    views = inner.views()
    inner.call("cat", {"tensors": views}, [inner.make(shape)])


def optional(node: Node) -> None:
    """Optional and OptionalGetElement hand their value on."""
    node.frame.set(node.proto.output[0], node.held(0))


_SPECIAL = {
    "Constant": constant, "If": branch, "Loop": loop, "Scan": scan, "SequenceConstruct": sequence,
    "SequenceEmpty": sequence, "SequenceInsert": sequence, "SequenceErase": sequence, "SequenceAt": sequence_at,
    "SequenceLength": sequence_length, "SplitToSequence": split_to_sequence, "ConcatFromSequence": join_sequence,
    "Optional": optional, "OptionalGetElement": optional,
}  # fmt: skip
