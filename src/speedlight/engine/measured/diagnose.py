"""Why a recorded run is as slow as it is, and what would help most: a trace beside what the machine could do.

A trace says where time went (:mod:`...measurement.traces.attribute`); shapes and machine say how long each kernel had to take
and takes with good kernels (:mod:`.recorded`). A *change* removes a cause's seconds, or brings kernels to what is expected of
them; its saving is seconds of this very window, so that gains can be compared. None is a promise: each says what it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._foundation.quantity import format_time
from ...frontends.recorded import Recorded
from ...hardware.catalogue import load_machine
from ...hardware.machine import Machine
from ...measurement.traces.attribute import CAUSES, Attribution, Calls, attribute
from ...measurement.traces.sorts import op_sort
from ...measurement.traces.trace import Trace
from ...stacks.stack import Stack, load_stack
from ..questions.resolve import without_device_runtime
from .recorded import Priced, price_recorded

MOST_PRICED = 2000  # sorts of calls; those behind them take well below a thousandth of the time
LEAST_SHARE = 0.01  # of the window: what saves less is no advice
PRODUCTS = ("matmul", "conv", "attention")


@dataclass(frozen=True, slots=True)
class KernelClass:
    """Kernels of one sort.

    Attributes:
        sort: ``matmul``, ``conv``, ``norm`` …
        calls, busy: how many, and their seconds.
        known: seconds of ``busy`` whose work is known from recorded shapes.
        limit, expected: seconds that work must take on the machine, and takes with the stack's kernels.
        bound: what binds most of the expected time.
        largest: the call that takes longest.
    """

    sort: str
    calls: int
    busy: float
    known: float
    limit: float
    expected: float
    bound: str
    largest: str


@dataclass(frozen=True, slots=True)
class Change:
    """Something to change.

    Attributes:
        cause: which of the causes, or the sort of kernels, it is about.
        what: what to do.
        why: what the saving rests on.
        saves: seconds of the window.
        gain: window before over after, less one.
    """

    cause: str
    what: str
    why: str
    saves: float
    gain: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A trace explained.

    Attributes:
        source, rank, world: of the trace.
        machine: id.
        where: seconds by cause; see :class:`Attribution`.
        classes: kernels by sort, most busy first.
        first: the largest cause beside computing, or ``compute`` where nothing else takes a tenth of the time.
        changes: what would help, most first.
        notes: what to know when reading this.
    """

    source: str
    rank: int | None
    world: int | None
    machine: str
    where: Attribution
    classes: tuple[KernelClass, ...]
    first: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object (docs/diagnose.md)."""
        return {
            "source": self.source, "rank": self.rank, "world": self.world, "machine": self.machine, "window": self.where.window,
            "device": self.where.device, "steps": self.where.steps, "seconds": dict(self.where.seconds),
            "hidden": dict(self.where.hidden), "launches": self.where.launches, "first": self.first,
            "classes": [_fields(c) for c in self.classes], "changes": [_fields(c) for c in self.changes],
            "notes": list(self.notes),
        }  # fmt: skip


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def diagnose(trace: Trace, machine: str | Machine, stack: str = "torch-eager") -> Diagnosis:
    """One trace.

    Args:
        machine: what it was recorded on: an id, a file, or ``here``.
        stack: whose kernels are expected.

    Raises:
        UnknownName, BadFile: for a machine or stack nobody knows.
    """
    on = load_machine(machine) if isinstance(machine, str) else machine
    software = load_stack(stack)
    if on.kind == "cpu":
        software = without_device_runtime(software.on_cpu or software)
    where = attribute(trace)
    recorded = [Recorded(c.op or c.name, c.shape, c.count) for c in where.calls[:MOST_PRICED]]
    priced = price_recorded(recorded, on, software)
    classes = _classes(where.calls, priced)
    return Diagnosis(
        trace.source, trace.rank, trace.world, on.id, where, classes, first_cause(where),
        _changes(where, classes, recorded, priced, on, software), _notes(where, classes, on),
    )  # fmt: skip


def first_cause(where: Attribution) -> str:
    """The largest cause beside computing; ``compute`` where none takes 10 % of the window."""
    others = {cause: where.seconds[cause] for cause in CAUSES if cause != "compute"}
    largest = max(others, key=lambda cause: others[cause])
    return largest if others[largest] > 0.1 * where.window else "compute"


def _classes(calls: Sequence[Calls], priced: Mapping[int, Priced]) -> tuple[KernelClass, ...]:
    members: dict[str, list[int]] = {}
    for number, call in enumerate(calls):
        members.setdefault(call.sort, []).append(number)
    found = []
    for sort, numbers in members.items():
        known = [i for i in numbers if i in priced]
        longest = max(known, key=lambda i: priced[i].time, default=None)
        found.append(
            KernelClass(
                sort, sum(calls[i].count for i in numbers), sum(calls[i].busy for i in numbers),
                sum(calls[i].busy for i in known), sum(priced[i].limit for i in known),
                sum(priced[i].time for i in known), "" if longest is None else priced[longest].bound,
                calls[numbers[0]].op or calls[numbers[0]].name,
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda c: -c.busy))


# changes -----------------------------------------------------------------------------------------------------------------


def _changes(
    where: Attribution, classes: Sequence[KernelClass], recorded: Sequence[Recorded], priced: Mapping[int, Priced],
    machine: Machine, stack: Stack,
) -> tuple[Change, ...]:  # fmt: skip
    """Every change with its saving, most first; those that save next to nothing are left out."""
    ideas = [*_of_causes(where), *_of_kernels(where, classes), *_of_formats(where, recorded, priced, machine, stack)]
    window = where.window
    worth = [idea for idea in ideas if idea[3] > LEAST_SHARE * window]
    made = [Change(*idea, gain=window / max(window - idea[3], 1e-3 * window) - 1) for idea in worth]
    return tuple(sorted(made, key=lambda c: -c.saves))


_Idea = tuple[str, str, str, float]  # cause, what, why, seconds saved


def _of_causes(where: Attribution) -> list[_Idea]:
    seconds = where.seconds
    ideas: list[_Idea] = [
        (
            "data_loading", "load the next batches behind the step: DataLoader(num_workers=…, prefetch_factor=…, pin_memory=True)",
            f"nothing computes during {format_time(seconds['data_loading'])} in {where.named.get('data_loading', 'the loader')}; "
            "enough workers hide all of it", seconds["data_loading"],
        ),
        (
            "synchronisation", "look at results less often: no .item(), .cpu() or printing of tensors within the step",
            f"the device runs dry for {format_time(seconds['synchronisation'])} after the host has waited for it "
            f"(mostly {where.named.get('synchronisation', '')})", seconds["synchronisation"],
        ),
        (
            "copies", "copy behind computing: pinned memory and non_blocking=True",
            f"{format_time(seconds['copies'])} of copies that nothing hides", seconds["copies"],
        ),
    ]  # fmt: skip
    exposed = seconds["communication"]
    room = max(seconds["compute"] - where.hidden["communication"], 0.0)
    saved = min(exposed, room) + 0.5 * max(exposed - room, 0.0)
    ideas.append(
        (
            "communication", "overlap messages with computing (smaller buckets, earlier start), or send fewer bytes (bf16 gradients)",
            f"{format_time(exposed)} of {where.named.get('communication', 'messages')} stand alone; computing could hide "
            f"{format_time(min(exposed, room))}, half the bytes save half of the rest", saved,
        )
    )  # fmt: skip
    if where.device:
        ideas.append(
            (
                "host", "launch less: torch.compile (mode='reduce-overhead' records CUDA graphs), or a larger batch",
                f"the device waits {format_time(seconds['host'])} for the host, which launched {where.launches} kernels", seconds["host"],
            )
        )  # fmt: skip
    else:
        ideas.append(
            (
                "host", "fewer and larger operators: torch.compile, a larger batch, inference mode",
                f"{format_time(seconds['host'])} go to the interpreter and to dispatch around {where.launches} kernels; at most all "
                "of it can be saved", seconds["host"],
            )
        )  # fmt: skip
    return ideas


def _of_kernels(where: Attribution, classes: Sequence[KernelClass]) -> list[_Idea]:
    """Kernels that take longer than the stack's usually do on this machine."""
    ideas: list[_Idea] = []
    for each in classes:
        excess = (each.known - each.expected) * _exposed(where)
        if excess > 0:
            ideas.append(
                (
                    each.sort, f"look for better {each.sort} kernels, and whether clocks or other processes slow these",
                    f"{format_time(each.known)} where {format_time(each.expected)} are expected of this machine and its limit is "
                    f"{format_time(each.limit)} ({each.bound})", excess,
                )
            )  # fmt: skip
    return ideas


def _of_formats(
    where: Attribution, recorded: Sequence[Recorded], priced: Mapping[int, Priced], machine: Machine, stack: Stack
) -> list[_Idea]:
    """fp32 products in bf16, on machines whose units are faster in it."""
    numbers = [i for i in priced if '"float"' in recorded[i].shape and _product(recorded[i].op)]
    if not numbers:
        return []
    lower = [
        Recorded(recorded[i].op, recorded[i].shape.replace('"float"', '"c10::BFloat16"'), recorded[i].count)
        for i in numbers
    ]
    again = price_recorded(lower, machine, stack)
    saved = 0.0
    for place, number in enumerate(numbers):
        before, after = priced[number], again.get(place)
        if after is not None and before.time > 0:
            saved += where.calls[number].busy * max(1 - after.time / before.time, 0.0)
    return [
        (
            "format", "run products in bf16: torch.autocast, or bf16 weights",
            "the same products on this machine's units, at the ratio of what is expected in bf16 and in fp32",
            saved * _exposed(where),
        )
    ]  # fmt: skip


def _product(op: str) -> bool:
    return op_sort(op) in PRODUCTS


def _exposed(where: Attribution) -> float:
    """Seconds of the window for each busy second of a kernel: streams run side by side."""
    busy = sum(c.busy for c in where.calls)
    return min(where.seconds["compute"] / busy, 1.0) if busy else 0.0


def _notes(where: Attribution, classes: Sequence[KernelClass], machine: Machine) -> tuple[str, ...]:
    notes = ["recording itself slows the host: a few microseconds for each operator"]
    busy, known = sum(c.busy for c in classes), sum(c.known for c in classes)
    if busy and known < 0.5 * busy:
        notes.append(
            f"shapes are known for {known / busy:.0%} of the kernel time: record with record_shapes=True for limits of the rest"
        )
    if where.device and machine.kind == "cpu":
        notes.append(f"the trace has a device's kernels, and {machine.id} is a host: limits are of the host")
    if not where.device and machine.kind != "cpu":
        notes.append(f"the trace holds a host's operators only, and limits are those of {machine.id}")
    return tuple(notes)
