"""Finds equal consecutive layers in a captured graph; see :mod:`.fold`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...graph.ir import Block, Graph, Op


@dataclass(frozen=True)
class Layer:
    """Ops [start, end) of one layer, and the tensors they use in order of appearance."""

    index: int
    start: int
    end: int
    locals: tuple[str, ...]
    form: tuple[object, ...]


@dataclass
class Run:
    """Consecutive equal layers under one prefix.

    Attributes:
        carried: local number of an outside tensor → local number of what becomes it in the next layer.
        invariant: local numbers of outside tensors that are the same in every layer.
    """

    prefix: str
    layers: list[Layer]
    carried: dict[int, int]
    invariant: set[int]

    @property
    def start(self) -> int:
        return self.layers[0].start

    @property
    def end(self) -> int:
        return self.layers[-1].end

    @property
    def saved(self) -> int:
        return (len(self.layers) - 1) * (self.layers[0].end - self.start)


@dataclass
class Flow:
    """Where the activations of a flat block are made and used.

    Attributes:
        made: tensor → index of the op that writes it.
        readers: tensor → indices of ops that read it.
        users: weight, constant or input → indices of ops that use it.
    """

    made: dict[str, int] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)
    users: dict[str, list[int]] = field(default_factory=dict)


def runs(graph: Graph, block: Block) -> tuple[Flow, list[Run]]:
    """Runs that do not overlap, in order; those that fold most are taken first."""
    flow = _flow(graph, block)
    return flow, _choose([r for prefix in _prefixes(block.ops) for r in _runs(graph, block, flow, prefix)])


def _flow(graph: Graph, block: Block) -> Flow:
    flow = Flow()
    for index, op in enumerate(block.ops):
        for read in op.reads:
            flow.readers.setdefault(read.tensor, []).append(index)
        for write in op.writes:
            if graph.tensor(block, write.tensor).cls == "activation":  # running statistics are written, not made
                flow.made.setdefault(write.tensor, index)
        for operand in (*op.reads, *op.writes):
            flow.users.setdefault(operand.tensor, []).append(index)
    return flow


def _prefixes(ops: Sequence[Op]) -> list[str]:
    found: dict[str, None] = {}
    for op in ops:
        parts = op.path.split(".")
        for position, part in enumerate(parts):
            if part.isdigit():
                found[".".join(parts[:position])] = None
    return list(found)


def _number(path: str, prefix: str) -> int | None:
    """The layer a path belongs to under a prefix."""
    head = f"{prefix}." if prefix else ""
    if not path.startswith(head):
        return None
    part = path[len(head) :].partition(".")[0]
    return int(part) if part.isdigit() else None


def _layers(graph: Graph, block: Block, flow: Flow, prefix: str) -> Iterator[list[Layer]]:
    """Stretches of layers that follow one another with no other op between them."""
    stretch: list[Layer] = []
    position, ops = 0, block.ops
    while position < len(ops):
        number = _number(ops[position].path, prefix)
        end = position
        while end < len(ops) and _number(ops[end].path, prefix) == number:
            end += 1
        if number is None:
            if stretch:
                yield stretch
            stretch = []
        else:
            stretch.append(_layer(graph, block, flow, prefix, number, position, end))
        position = end
    if stretch:
        yield stretch


def _layer(graph: Graph, block: Block, flow: Flow, prefix: str, number: int, start: int, end: int) -> Layer:
    """Its canonical form: equal for layers that differ only in the names of their own tensors."""
    numbers: dict[str, int] = {}
    form: list[object] = []
    head = f"{prefix}.{number}" if prefix else str(number)

    def local(name: str) -> tuple[object, ...]:
        if name in numbers:
            return (numbers[name],)
        numbers[name] = len(numbers)
        tensor = graph.tensor(block, name)
        if tensor.cls == "activation":
            place = "made" if start <= flow.made.get(name, -1) < end else "outside"
        else:
            place = "own" if all(start <= i < end for i in flow.users[name]) else name
        return (numbers[name], tensor.cls, tensor.elements, tensor.dtype, tensor.needs_grad, place)

    for op in block.ops[start:end]:
        operands = tuple((local(o.tensor), o.elements, o.access, o.granule, o.reuse) for o in (*op.reads, *op.writes))
        form.append((
            op.kind, op.fn, _below(op.path, head), _below(op.name, head), len(op.reads), operands, op.work,
            tuple(sorted(op.dims.items(), key=lambda d: d[0])), _frozen(op.attrs), op.span,
        ))  # fmt: skip
    return Layer(number, start, end, tuple(numbers), tuple(form))


def _below(name: str, head: str) -> str:
    return name[len(head) :] if name.startswith(head) else name


def _frozen(attrs: Mapping[str, object]) -> str:
    return repr(sorted(attrs.items()))


def _runs(graph: Graph, block: Block, flow: Flow, prefix: str) -> Iterator[Run]:
    for stretch in _layers(graph, block, flow, prefix):
        start = 0
        while start < len(stretch) - 1:
            run = _longest(block, flow, prefix, stretch[start:])
            if run is None:
                start += 1
            else:
                yield run
                start += len(run.layers)


def _longest(block: Block, flow: Flow, prefix: str, layers: Sequence[Layer]) -> Run | None:
    """The longest run from the first layer on that chains and leaves only what it carries."""
    equal = 1
    while equal < len(layers) and layers[equal].form == layers[0].form:
        equal += 1
    if equal < 2:
        return None
    roles = _roles(flow, layers[0], layers[1])
    if roles is None:
        return None
    carried, invariant = roles
    length = 2
    while length < equal and _roles(flow, layers[length - 1], layers[length]) == roles:
        length += 1
    while length >= 2:
        run = Run(prefix, list(layers[:length]), carried, invariant)
        if _is_closed(block, flow, run):
            return run
        length -= 1
    return None


def _roles(flow: Flow, before: Layer, after: Layer) -> tuple[dict[int, int], set[int]] | None:
    """How ``after``'s outside tensors come from ``before``; None where one comes from elsewhere."""
    position = {name: i for i, name in enumerate(before.locals)}
    carried: dict[int, int] = {}
    invariant: set[int] = set()
    for number, name in enumerate(after.locals):
        made = flow.made.get(name)
        if made is None or made >= after.start:
            continue
        if before.start <= made < before.end:
            carried[number] = position[name]
        elif before.locals[number] == name:
            invariant.add(number)
        else:
            return None
    return carried, invariant


def _is_closed(block: Block, flow: Flow, run: Run) -> bool:
    """Nothing inside is used outside, but for what is carried into the next layer or out of the last one."""
    results = set(run.carried.values())
    for position, layer in enumerate(run.layers):
        final = position == len(run.layers) - 1
        until = layer.end if final else run.layers[position + 1].end
        for number, name in enumerate(layer.locals):
            if not layer.start <= flow.made.get(name, -1) < layer.end:
                continue
            last = max(flow.readers.get(name, [-1]))
            outside = last >= until or (final and last >= layer.end)
            if outside and not (final and number in results):
                return False
            if not final and last >= layer.end and number not in results:
                return False
    return True


def _choose(runs: list[Run]) -> list[Run]:
    """Runs that do not overlap, those that fold most first."""
    chosen: list[Run] = []
    for run in sorted(runs, key=lambda r: -r.saved):
        if all(run.end <= other.start or run.start >= other.end for other in chosen):
            chosen.append(run)
    return sorted(chosen, key=lambda r: r.start)
