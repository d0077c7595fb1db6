"""Kernels: what a stack really runs. Frozen records whose numbers are expressions, evaluated by one tape.

A kernel's traffic is its operands' bytes after fusion: a tensor that lives and dies inside a fused group moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._foundation.arrays import Value
from .._foundation.expr import Expr, Tape, symbols
from ..graph.ir import ONE, Message


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


class Program:
    """A lowered graph: blocks of kernels and the tape that evaluates all their expressions at once.

    Attributes:
        needs: per block and kernel, the symbols its numbers depend on.
        sorts: per block and kernel, a number that kernels which always cost the same have in common.
    """

    __slots__ = ("_layout", "_tape", "attrs", "blocks", "needs", "sorts", "symbols")

    def __init__(self, blocks: tuple[KernelBlock, ...], attrs: Mapping[str, Any]) -> None:
        self.blocks = blocks
        self.attrs = attrs
        exprs: list[Expr] = []

        def slot(expr: Expr) -> int:
            exprs.append(expr)
            return len(exprs) - 1

        self._layout: list[tuple[int, list[dict[str, Any]]]] = []
        for block in blocks:
            rows = []
            for k in block.kernels:
                rows.append(
                    {
                        "count": slot(k.count),
                        "launches": slot(k.launches),
                        "span": slot(k.span),
                        "flops": [slot(w.flops) for w in k.work],
                        "dense": [slot(w.dense) for w in k.work],
                        "bytes": [slot(a.bytes) for a in k.accesses],
                        "sizes": [slot(a.size) for a in k.accesses],
                        "granules": [None if a.granule is None else slot(a.granule) for a in k.accesses],
                        "dims": {name: slot(e) for name, e in k.dims.items()},
                        "message": _message_slots(k.message, slot) if k.message else None,
                    }
                )
            self._layout.append((slot(block.count), rows))
        self.needs = tuple(tuple(_needs(k) for k in block.kernels) for block in blocks)
        seen: dict[Any, int] = {}
        self.sorts = tuple(tuple(seen.setdefault(_priced_by(k), len(seen)) for k in block.kernels) for block in blocks)
        self._tape = Tape(exprs)
        self.symbols = self._tape.symbols

    def evaluate(
        self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]
    ) -> list[tuple[Value, list[KernelValues]]]:
        """Per block: its count and the values of its kernels."""
        cells = self._tape.run(env, groups)
        result = []
        for count_slot, rows in self._layout:
            values = [
                KernelValues(
                    count=cells[r["count"]],
                    launches=cells[r["launches"]],
                    span=cells[r["span"]],
                    flops=tuple(cells[i] for i in r["flops"]),
                    dense=tuple(cells[i] for i in r["dense"]),
                    bytes=tuple(cells[i] for i in r["bytes"]),
                    sizes=tuple(cells[i] for i in r["sizes"]),
                    granules=tuple(None if i is None else cells[i] for i in r["granules"]),
                    dims={name: cells[i] for name, i in r["dims"].items()},
                    message=None if r["message"] is None else _message_values(r["message"], cells),
                )
                for r in rows
            ]
            result.append((cells[count_slot], values))
        return result


def _message_slots(message: Message, slot: Callable[[Expr], int]) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    return slot(message.bytes), slot(message.size), tuple((slot(size), slot(stride)) for size, stride in message.spans)


def _message_values(slots: tuple[int, int, tuple[tuple[int, int], ...]], cells: Sequence[Value]) -> MessageValues:
    payload, size, spans = slots
    return cells[payload], cells[size], tuple((cells[ranks], cells[stride]) for ranks, stride in spans)


def _message_sizes(message: Message) -> tuple[Expr, ...]:
    return (message.bytes, message.size, *(e for span in message.spans for e in span))


def _needs(kernel: Kernel) -> frozenset[str]:
    message = () if kernel.message is None else _message_sizes(kernel.message)
    return symbols(
        kernel.count, kernel.launches, kernel.span, *(e for w in kernel.work for e in (w.flops, w.dense)),
        *(e for a in kernel.accesses for e in (a.bytes, a.size)), *(a.granule for a in kernel.accesses if a.granule is not None),
        *kernel.dims.values(), *message,
    )  # fmt: skip


def _priced_by(kernel: Kernel) -> tuple[Any, ...]:
    """All that a cost may look at: not its name and place, nor how often it runs."""
    work = tuple((w.unit, w.format, w.accumulate, w.flops, w.dense) for w in kernel.work)
    # A tensor's name says no more than whether it is a gradient that is kept.
    accesses = tuple(replace(a, tensor="grad." * a.tensor.startswith("grad.")) for a in kernel.accesses)
    members = kernel.members if kernel.family == "moe" else ()  # fused experts are told by what they fuse
    return (
        kernel.kind, kernel.fn, kernel.family, members, work, accesses, tuple(sorted(kernel.dims.items())), kernel.launches,
        kernel.span, kernel.workspace, kernel.message, kernel.serial, kernel.efficiency, tuple(sorted(kernel.library.items())),
        repr(sorted(kernel.attrs.items())), kernel.phase,
    )  # fmt: skip
