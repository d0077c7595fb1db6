"""Kernels: what a stack really runs. Frozen records whose numbers are expressions, evaluated by one tape.

A kernel's traffic is its operands' bytes after fusion: a tensor that lives and dies inside a fused group moves nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .._foundation.arrays import Value
from .._foundation.expr import Expr, Tape, symbols
from ..graph.ir import ONE, Message

BLOCKS = "blocks"  # the dimension under which a kernel keeps how many independent pieces its work falls into
IN_FLIGHT = "in_flight"  # and the bytes that each asks of memory at once
WALKS = "walks"  # how many blocks a library's kernel walks through memory with, each with so many bytes in flight


@dataclass(frozen=True, slots=True)
class Access:
    """Bytes of one tensor a kernel moves.

    Attributes:
        tensor: its name; ``cls`` its class, which decides where it comes from (weights cold, activations as left).
        bytes: moved by one instance.
        size: bytes of the whole tensor, which decides whether a cache could hold it.
        write: written rather than read.
        granule: contiguous bytes of a random access, or None when streamed.
        home: share of the tensor by tier role; ``path`` says how what is not in main memory comes.
        format: number format it is stored in.
    """

    tensor: str
    cls: str
    bytes: Expr
    size: Expr
    write: bool = False
    granule: Expr | None = None
    home: tuple[tuple[str, float], ...] = (("main", 1.0),)
    path: str = "copied"
    format: str = ""


@dataclass(frozen=True, slots=True)
class KernelWork:
    unit: str
    format: str
    accumulate: str | None
    flops: Expr
    dense: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel of a block instance.

    Attributes:
        members: names of the logical ops it runs.
        family: the cost family (``matmul``, ``conv``, ``attention``, ``collective``, ``stream``).
        count: instances per block instance.
        launches: kernel starts per instance (0 count launches nothing).
        serial: parts that do not overlap inside it.
        efficiency: share of the analytic rate a published kernel reaches; None for 1.
        rates: share of a resource's rate that its instructions reach; ``even``: units share a product's work to the last step. Whose variant states ``blocks`` has them among its dims.
        host_s: host time of one launch where the stack states one for this function.
        library: by number format, cost family or both ("" for any) the framework whose measured kernels run; empty where
            none is meant.
    """

    name: str
    path: str
    kind: str
    fn: str
    family: str
    members: tuple[str, ...]
    work: tuple[KernelWork, ...]
    accesses: tuple[Access, ...]
    dims: Mapping[str, Expr]
    count: Expr
    launches: Expr = ONE
    span: Expr = ONE
    workspace: Expr
    message: Message | None = None
    serial: tuple[str, ...] = ()
    efficiency: float | None = None
    rates: tuple[tuple[str, float], ...] = ()
    even: bool = False
    host_s: float | None = None
    library: Mapping[str, str] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    phase: str = "forward"


@dataclass(frozen=True, slots=True)
class KernelBlock:
    """Kernels of a folded block; ``count`` instances."""

    name: str
    count: Expr
    kernels: tuple[Kernel, ...]
    phase: str = "forward"


# Bytes of a message, its ranks, and (size, stride) of each mesh axis it runs over (:class:`..graph.ir.Message`).
MessageValues = tuple[Value, Value, tuple[tuple[Value, Value], ...]]


@dataclass(frozen=True, slots=True)
class KernelValues:
    """A kernel's numbers for given sizes; floats or arrays."""

    count: Value
    launches: Value
    span: Value
    flops: tuple[Value, ...]
    dense: tuple[Value, ...]
    bytes: tuple[Value, ...]
    sizes: tuple[Value, ...]
    granules: tuple[Value | None, ...]
    dims: Mapping[str, Value]
    message: MessageValues | None
    copies: Value = 1.0


class Slots(NamedTuple):
    """Where a kernel's numbers stand on its program's tape: the fields of :class:`KernelValues`, as places."""

    instances: int
    launches: int
    span: int
    flops: tuple[int, ...]
    dense: tuple[int, ...]
    bytes: tuple[int, ...]
    sizes: tuple[int, ...]
    granules: tuple[int | None, ...]
    dims: tuple[tuple[str, int], ...]
    message: tuple[int, ...] | None  # bytes, ranks, then size and stride of each axis
    copies: int | None = None  # of a message's rows


class Program:
    """A lowered graph: blocks of kernels and the tape that evaluates all their expressions at once.

    Attributes:
        counts: per block where its count stands; ``slots``: per block and kernel, where its numbers stand.
        sorts: per block and kernel, a number that kernels which always cost the same have in common.
    """

    __slots__ = ("_needs", "_structures", "_tape", "attrs", "blocks", "counts", "indices", "slots", "sorts", "symbols")

    def __init__(self, blocks: tuple[KernelBlock, ...], attrs: Mapping[str, Any]) -> None:
        self.blocks = blocks
        self.attrs = attrs
        exprs: list[Expr] = []
        spread: list[tuple[int, list[tuple[int, int]]]] = []
        for block in blocks:
            start = len(exprs)
            exprs.append(block.count)
            places = []
            for kernel in block.kernels:
                first = len(exprs)
                exprs += _numbers(kernel)
                places.append((first, len(exprs)))
            spread.append((start, places))
        self._tape = Tape(exprs)
        self.symbols = self._tape.symbols
        at = self._tape.outputs
        self.counts = tuple(at[start] for start, _ in spread)
        seen: dict[Any, int] = {}
        slots, sorts = [], []
        for block, (_, places) in zip(blocks, spread, strict=True):
            own = [_slots(k, at[a:b]) for k, (a, b) in zip(block.kernels, places, strict=True)]
            slots.append(tuple(own))
            # Equal places hold equal expressions; a kernel's workspace is the last of its own.
            keys = [(*s[1:], at[b - 1], _facts(k)) for k, s, (_, b) in zip(block.kernels, own, places, strict=True)]
            sorts.append(tuple(seen.setdefault(key, len(seen)) for key in keys))
        self.slots, self.sorts = tuple(slots), tuple(sorts)
        self._needs: dict[int, frozenset[str]] = {}
        self._structures: dict[int, Any] = {}
        self.indices: dict[Any, KernelValues] = {}

    def needs(self, kernel: Kernel) -> frozenset[str]:
        """The symbols that one of its kernels' numbers depend on."""
        found = self._needs.get(id(kernel))
        if found is None:
            found = self._needs[id(kernel)] = symbols(*_numbers(kernel)[:-1])
        return found

    def structure(self, kernel: Kernel) -> Any:
        """:func:`structure_of` one of its kernels."""
        found = self._structures.get(id(kernel))
        if found is None:
            found = self._structures[id(kernel)] = structure_of(kernel)
        return found

    def run(self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]) -> Numbers:
        """All numbers for given sizes."""
        return Numbers(self, self._tape.run_all(env, groups))

    def evaluate(
        self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]
    ) -> list[tuple[Value, list[KernelValues]]]:
        """Per block: its count and the values of its kernels."""
        numbers = self.run(env, groups)
        return [
            (numbers.cells[count], [numbers.of(place) for place in slots])
            for count, slots in zip(self.counts, self.slots, strict=True)
        ]


class Numbers:
    """A program's numbers for given sizes.

    Attributes:
        cells: by place.
    """

    __slots__ = ("_program", "_shape", "_table", "cells")

    def __init__(self, program: Program, cells: list[Value]) -> None:
        self.cells = cells
        self._program = program
        self._shape: tuple[int, ...] | None = None
        self._table: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """What all cells broadcast to; () for one scenario."""
        if self._shape is None:
            shapes = {c.shape for c in self.cells if isinstance(c, np.ndarray)}
            self._shape = np.broadcast_shapes(*shapes) if shapes else ()
        return self._shape

    def of(self, at: Slots) -> KernelValues:
        """One kernel's."""
        cells = self.cells
        return KernelValues(
            cells[at.instances], cells[at.launches], cells[at.span], tuple([cells[i] for i in at.flops]),
            tuple([cells[i] for i in at.dense]), tuple([cells[i] for i in at.bytes]), tuple([cells[i] for i in at.sizes]),
            tuple([None if i is None else cells[i] for i in at.granules]), {name: cells[i] for name, i in at.dims},
            None if at.message is None else _message([cells[i] for i in at.message]),
            1.0 if at.copies is None else cells[at.copies],
        )  # fmt: skip

    def stacked(self, sorts: tuple[int, ...], places: Sequence[Slots]) -> KernelValues:
        """Those of several kernels of one structure (:func:`structure_of`), along one more axis in front.

        Args:
            sorts: theirs, by which the program remembers where they stand.
        """
        index = self._program.indices.get(sorts)
        if index is None:
            index = self._program.indices[sorts] = _indices(places)
        if self._table is None:
            self._table = np.empty((len(self.cells), *self.shape))
            for place, cell in enumerate(self.cells):
                self._table[place] = cell
        table = self._table
        return KernelValues(
            table[index.count], table[index.launches], table[index.span], tuple([table[i] for i in index.flops]),
            tuple([table[i] for i in index.dense]), tuple([table[i] for i in index.bytes]),
            tuple([table[i] for i in index.sizes]), tuple([None if i is None else table[i] for i in index.granules]),
            {name: table[i] for name, i in index.dims.items()}, None,
        )  # fmt: skip


def _indices(places: Sequence[Slots]) -> KernelValues:
    def column(values: Iterable[int]) -> np.ndarray:
        return np.array(list(values), dtype=np.intp)

    def columns(rows: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, ...]:
        return tuple(column(own) for own in zip(*rows, strict=True))

    granules = list(zip(*(p.granules for p in places), strict=True))
    return KernelValues(
        column(p.instances for p in places), column(p.launches for p in places), column(p.span for p in places),
        columns([p.flops for p in places]), columns([p.dense for p in places]), columns([p.bytes for p in places]),
        columns([p.sizes for p in places]), tuple(None if own[0] is None else column(own) for own in granules),
        {name: column(dict(p.dims)[name] for p in places) for name, _ in places[0].dims}, None,
    )  # fmt: skip


def _message(values: Sequence[Value]) -> MessageValues:
    return values[0], values[1], tuple(zip(values[2::2], values[3::2], strict=True))


def _numbers(kernel: Kernel) -> list[Expr]:
    """Its expressions, in the order of :class:`Slots`, and last its workspace."""
    found = [kernel.count, kernel.launches, kernel.span]
    found += [w.flops for w in kernel.work]
    found += [w.dense for w in kernel.work]
    found += [a.bytes for a in kernel.accesses]
    found += [a.size for a in kernel.accesses]
    found += [a.granule for a in kernel.accesses if a.granule is not None]
    found += kernel.dims.values()
    if kernel.message is not None:
        found += [kernel.message.bytes, kernel.message.size, *(e for span in kernel.message.spans for e in span)]
        found.append(kernel.message.copies)
    found.append(kernel.workspace)
    return found


def _slots(kernel: Kernel, at: Sequence[int]) -> Slots:
    """Places of :func:`_numbers`."""
    place = iter(at)
    works, accesses = len(kernel.work), len(kernel.accesses)

    def some(count: int) -> tuple[int, ...]:
        return tuple(itertools.islice(place, count))

    count, launches, span = next(place), next(place), next(place)
    flops, dense, moved, sizes = some(works), some(works), some(accesses), some(accesses)
    granules = tuple(None if a.granule is None else next(place) for a in kernel.accesses)
    dims = tuple((name, next(place)) for name in kernel.dims)
    message = None if kernel.message is None else some(2 + 2 * len(kernel.message.spans))
    copies = None if kernel.message is None else next(place)
    return Slots(count, launches, span, flops, dense, moved, sizes, granules, dims, message, copies)


def _facts(kernel: Kernel) -> tuple[Any, ...]:
    """All that a cost may look at beside numbers: not its name and place, nor how often it runs."""
    # A tensor's name says no more than whether it is a gradient that is kept.
    accesses = tuple(
        [(a.cls, a.write, a.home, a.path, a.format, a.tensor.startswith("grad.")) for a in kernel.accesses]
    )
    work = tuple([(w.unit, w.format, w.accumulate) for w in kernel.work])
    members = kernel.members if kernel.family == "moe" else ()  # fused experts are told by what they fuse
    message = None if kernel.message is None else (kernel.message.collective, kernel.message.axis)
    return (
        kernel.kind, kernel.fn, kernel.family, members, work, accesses, message, kernel.serial, kernel.efficiency,
        kernel.rates, kernel.even, tuple(sorted(kernel.library.items())) if kernel.library else (), repr(sorted(kernel.attrs.items())), kernel.phase,
    )  # fmt: skip


DEPTHWISE = ("groups", "in_channels")
ATTRIBUTES = ("layout", "orders", "out_orders", "in_place", "training")  # that an elementwise cost may look at


def structure_of(kernel: Kernel) -> tuple[Any, ...]:
    """What an elementwise cost of a kernel looks at beside its numbers: kernels that agree in it can be priced in one call,
    their numbers as arrays. Of attributes only a few count; whose cost asks for others prices its kernels alone.
    """
    groups, channels = (kernel.dims[n].constant if n in kernel.dims else None for n in DEPTHWISE)
    return (
        kernel.kind, kernel.fn, kernel.family, tuple(kernel.dims), kernel.serial, kernel.efficiency,
        kernel.rates, kernel.even, tuple(sorted(kernel.library.items())), *(repr(kernel.attrs.get(n)) for n in ATTRIBUTES), kernel.phase, groups == 1, groups == channels,
        tuple([(w.unit, w.format, w.accumulate) for w in kernel.work]),
        tuple([(a.cls, a.write, a.home, a.path, a.granule is None, a.tensor.startswith("grad.")) for a in kernel.accesses]),
    )  # fmt: skip
