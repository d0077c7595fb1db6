"""Every second of a trace to one cause: computing, messages, copies, waits for data, the host.

At each moment the first of these that goes on takes it: computing (a kernel, or on a host an operator that computes), messages
that nothing hides, copies that nothing hides, the wait for the next batch, the wait of the host for the device, else the host,
which had nothing running for whatever reason: interpreter, dispatch, launches. So that causes sum to the window exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .nesting import computing, parents
from .sorts import by_host, is_message, kernel_sort, loads, op_sort, waits
from .spans import NOTHING, Spans, common, either, length, union, without
from .trace import DEVICE, Floats, Trace

CAUSES = ("compute", "communication", "copies", "data_loading", "synchronisation", "host")


@dataclass(frozen=True, slots=True)
class Calls:
    """Kernels, or operators of a host, of one name and shape.

    Attributes:
        name: of the kernel or operator; ``op`` of the operator that launched it ("" where not known).
        sort: see :mod:`.sorts`.
        shape: what the operator was called on, as the trace's JSON; "" where not recorded.
        count: calls.
        busy: seconds they took, together.
    """

    name: str
    op: str
    sort: str
    shape: str
    count: int
    busy: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """Where a trace's time went.

    Attributes:
        window: seconds from the first event that counts to the last.
        device: whether there is a device besides the host.
        seconds: by cause, in the order of :data:`CAUSES`; they sum to ``window``.
        hidden: seconds of messages, and of copies, that computing hid.
        calls: what computed, most busy first.
        launches: kernels launched, or operators of a host that computed.
        named: by cause, the name that spans most of it.
        steps: iterations seen, 0 where none are marked.
    """

    window: float
    device: bool
    seconds: dict[str, float]
    hidden: dict[str, float]
    calls: tuple[Calls, ...]
    launches: int
    named: dict[str, str]
    steps: int


def attribute(trace: Trace) -> Attribution:
    """See the module's docstring."""
    on_device = trace.of(DEVICE)
    device = bool(on_device.any())
    compute, messages, copies, calls, launches = _on_device(trace) if device else _on_host(trace)
    spans = {
        "compute": compute, "communication": messages, "copies": copies,
        "data_loading": _spans(trace, trace.named([loads(n) for n in trace.names]) & trace.of(("annotation", "op"))),
        "synchronisation": _waiting(trace, compute) if device else NOTHING,
    }  # fmt: skip
    window = _window(trace, on_device)
    taken, seconds = NOTHING, {}
    for cause, span in spans.items():
        own = common(without(span, taken), window)
        seconds[cause] = length(own)
        taken = either(taken, span)
    seconds["host"] = max(length(window) - sum(seconds.values()), 0.0)
    hidden = {name: length(common(spans[name], compute)) for name in ("communication", "copies")}
    steps = sum(bool(n.startswith("ProfilerStep")) for n in trace.names)
    return Attribution(
        length(window), device, {c: seconds[c] for c in CAUSES}, hidden, calls, launches, _named(trace, device), steps
    )


def _window(trace: Trace, on_device: npt.NDArray[np.bool_]) -> Spans:
    """From the first to the last event of the device and of the program; what the profiler itself records does not count."""
    counts = on_device | trace.of(("op", "annotation", "runtime"))
    if not counts.any():
        counts = np.ones(len(trace), dtype=bool)
    return np.array([[trace.start[counts].min(), trace.end[counts].max()]])


def _spans(trace: Trace, mask: npt.NDArray[np.bool_]) -> Spans:
    return union(trace.start[mask], trace.end[mask])


# a device ----------------------------------------------------------------------------------------------------------------


def _on_device(trace: Trace) -> tuple[Spans, Spans, Spans, tuple[Calls, ...], int]:
    kernels = trace.of(("kernel",))
    sorts = [kernel_sort(n) for n in trace.names]
    messages = kernels & trace.named([s == "collective" for s in sorts])
    compute = kernels & ~messages
    copies = trace.of(("memcpy", "memset"))
    row = launchers(trace)
    op, shape = (np.where(row >= 0, column[row], -1) for column in (trace.name, trace.shape))
    calls = _grouped(trace, compute, trace.duration, sorts, op, shape)
    messages |= trace.of(("annotation", "op")) & trace.named([by_host(n) for n in trace.names])
    return _spans(trace, compute), _spans(trace, messages), _spans(trace, copies), calls, int(kernels.sum())


def launchers(trace: Trace) -> npt.NDArray[np.int64]:
    """Row of the operator each device event belongs to, by the operator's number (Kineto's "External id"); −1 for none."""
    found = np.full(len(trace), -1, dtype=np.int64)
    ops = np.flatnonzero(trace.of(("op",)) & (trace.outer >= 0))
    if ops.size:
        order = ops[np.argsort(trace.outer[ops], kind="stable")]
        at = np.minimum(np.searchsorted(trace.outer[order], trace.outer), order.size - 1)
        same = (trace.outer[order[at]] == trace.outer) & trace.of(DEVICE)
        found[same] = order[at][same]
    return found


def _waiting(trace: Trace, compute: Spans) -> Spans:
    """Pauses of the device that begin while the host waits for it: the queue ran dry because somebody looked at a result."""
    calls = _spans(trace, trace.of(("runtime", "op")) & trace.named([waits(n) for n in trace.names]))
    if not calls.size or compute.shape[0] < 2:
        return NOTHING
    pauses = np.stack([compute[:-1, 1], compute[1:, 0]], axis=1)
    index = np.searchsorted(calls[:, 0], pauses[:, 0], side="right") - 1
    begun = (index >= 0) & (calls[np.maximum(index, 0), 1] >= pauses[:, 0])
    waited: Spans = pauses[begun]
    return waited


# a host ------------------------------------------------------------------------------------------------------------------


def _on_host(trace: Trace) -> tuple[Spans, Spans, Spans, tuple[Calls, ...], int]:
    """Operators, as far as they compute by themselves; messages run on threads of their own."""
    sorts = [op_sort(n) for n in trace.names]
    ops = np.flatnonzero(trace.of(("op",)))
    parent = parents(trace.start[ops], trace.end[ops], trace.track[ops])
    seconds = np.zeros(len(trace))
    seconds[ops] = computing(trace.names, trace.name[ops], parent, trace.duration[ops])
    computes = seconds > 0
    messages = trace.of(("annotation", "op")) & trace.named([is_message(n) for n in trace.names])
    calls = _grouped(trace, computes, seconds, sorts, trace.name, trace.shape)
    return _spans(trace, computes), _spans(trace, messages), NOTHING, calls, int(computes.sum())


# both --------------------------------------------------------------------------------------------------------------------


def _grouped(
    trace: Trace, mask: npt.NDArray[np.bool_], seconds: Floats, sorts: list[str], op: npt.NDArray[np.int32],
    shape: npt.NDArray[np.int32],
) -> tuple[Calls, ...]:  # fmt: skip
    rows = np.flatnonzero(mask)
    if not rows.size:
        return ()
    keys = np.stack([trace.name[rows], op[rows], shape[rows]], axis=1)
    unique, where = np.unique(keys, axis=0, return_inverse=True)
    where = where.ravel()
    busy = np.bincount(where, weights=seconds[rows], minlength=len(unique))
    count = np.bincount(where, minlength=len(unique))
    found = []
    for (name, launcher, size), spent, number in zip(unique.tolist(), busy.tolist(), count.tolist(), strict=True):
        by = trace.names[launcher] if launcher >= 0 else ""
        sort = sorts[name] if sorts[name] != "other" or not by else op_sort(by)
        text = trace.shapes[size] if size >= 0 else ""
        found.append(Calls(trace.names[name], by, sort, text, number, spent))
    return tuple(sorted(found, key=lambda c: -c.busy))


def _named(trace: Trace, device: bool) -> dict[str, str]:
    """The name that most of a cause's own events have, for words."""
    tests = {
        "communication": lambda n: is_message(n) if not device else by_host(n) or kernel_sort(n) == "collective",
        "data_loading": loads,
        "synchronisation": waits,
    }
    found = {}
    for cause, test in tests.items():
        mask = trace.named([bool(test(n)) for n in trace.names])
        if mask.any():
            busy = np.bincount(trace.name[mask], weights=trace.duration[mask], minlength=len(trace.names))
            found[cause] = trace.names[int(busy.argmax())]
    return found
