"""Runs a step for real: its time without a profiler, then once under it, by module path, with what it allocates."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bench.accelerator import allocating, on_cuda, waiting
from ..bench.timing import Timed, timed
from ..traces.attribute import launchers
from ..traces.chrome import read_chrome
from ..traces.nesting import computing, parents
from ..traces.sorts import op_sort
from ..traces.trace import DEVICE, Trace
from .subject import Subject

MARK = "module:"
BACKWARD = "autograd::engine::evaluate_function"
OPTIMIZER = "Optimizer.step"


@dataclass(frozen=True, slots=True)
class Spent:
    """Operators of one module in one pass.

    Attributes:
        path: the module's; ``""`` for the model itself.
        phase: ``forward``, ``backward`` or ``optimizer``.
        name, sort: of the operator.
    """

    path: str
    phase: str
    name: str
    sort: str
    count: int
    busy: float


@dataclass(frozen=True)
class Measured:
    """A step as it ran here.

    Attributes:
        time: without the profiler.
        traced: seconds of the step under it.
        spent: seconds of operators by module, most first; what is left of ``traced`` is the host's. On a device, of its kernels by the
            operator that launched them.
        kept: bytes of parameters, buffers, the optimizer's states and the arguments.
        peak: those and the most that was allocated beside them.
        pages: of memory that a step gets anew from the system, and the ``system`` seconds that it spends there: an allocator that
            gives freed blocks back pays for them in each step.
        kernels: ``spent`` is of a device's kernels.
    """

    time: Timed
    traced: float
    spent: tuple[Spent, ...]
    kept: int
    peak: int
    pages: int = 0
    system: float = 0.0
    kernels: bool = False

    @property
    def host(self) -> float:
        """Seconds of the traced step in which no operator computed."""
        return max(self.traced - sum(s.busy for s in self.spent), 0.0)


def run(it: Subject, seconds: float = 2.0) -> Measured:
    """Time a step, then trace it.

    Args:
        seconds: to time it for, at most; its warm-up comes before.
    """
    for _ in range(2):
        it.step()
    time = timed(it.step, seconds=seconds, once=True, wait=waiting(it.device))
    pages, system = _from_system(it)
    trace, allocated = _traced(it)
    kept = _kept(it)
    device = bool(trace.of(DEVICE).any())
    return Measured(time, float(trace.end.max()), _spent(trace), kept, kept + allocated, pages, system, device)


def _from_system(it: Subject) -> tuple[int, float]:
    """(pages that one step has mapped, seconds of the process in the system); zeros where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF)
    it.step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_minflt - before.ru_minflt, after.ru_stime - before.ru_stime


def peak(it: Subject) -> int:
    """Bytes of what outlives a step and the most that one step allocates beside it."""
    if on_cuda(it.device):
        with allocating() as found:
            it.step()
        return _kept(it) + found.most
    with _recorded(it) as path:
        return _kept(it) + _most(path)


def _kept(it: Subject) -> int:
    plain = [part for t in it.kept() for part in _plain(t)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in plain}.values())


def _plain(tensor: Any) -> Iterator[Any]:
    """The tensors with storage of their own that a tensor is made of: quantised ones hold codes and scales."""
    names = tensor.__tensor_flatten__()[0] if hasattr(tensor, "__tensor_flatten__") else ()
    if not names:
        yield tensor
    for name in names:
        yield from _plain(getattr(tensor, name))


def _traced(it: Subject) -> tuple[Trace, int]:
    """A step under the profiler by module, and the most bytes it held beyond what was there before."""
    with _marked(it.module), allocating() if on_cuda(it.device) else nullcontext() as found, _recorded(it) as path:
        trace = read_chrome(path)
        most = _most(path) if found is None else 0
    return trace, most if found is None else found.most


@contextmanager
def _recorded(it: Subject) -> Iterator[Path]:
    """The profiler's own file of one step."""
    from torch.profiler import ProfilerActivity, profile

    wait = waiting(it.device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda(it.device) else [])]
    with profile(activities=activities, profile_memory=wait is None) as recorder:
        it.step()
        if wait is not None:
            wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorder.export_chrome_trace(str(path))
        yield path


def _most(path: Path) -> int:
    """The most bytes allocated since the first event, from the profiler's own marks."""
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    steps = [
        e["args"]["Bytes"] for e in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    ]
    return int(np.cumsum(steps).max(initial=0)) if steps else 0


@contextmanager
def _marked(module: Any) -> Iterator[None]:
    """Every module's forward pass as an annotation of its path."""
    from torch.autograd.profiler import record_function

    handles = []
    for path, part in module.named_modules():
        open_marks: list[Any] = []

        def enter(_: Any, __: Any, name: str = MARK + path, marks: list[Any] = open_marks) -> None:
            mark = record_function(name)
            mark.__enter__()
            marks.append(mark)

        def leave(_: Any, __: Any, ___: Any, marks: list[Any] = open_marks) -> None:
            marks.pop().__exit__(None, None, None)

        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _spent(trace: Trace) -> tuple[Spent, ...]:
    """Operators that compute, by the module whose forward pass they are in, or whose backward pass."""
    rows, parent, places = _placed(trace)
    names = [trace.names[n] for n in trace.name[rows]]
    if trace.of(DEVICE).any():
        pairs = _launched(trace, rows)
    else:
        seconds = computing(trace.names, trace.name[rows], parent, trace.duration[rows])
        pairs = [(row, float(seconds[row])) for row in np.flatnonzero(seconds).tolist()]
    found: dict[tuple[str, str, str], list[float]] = {}
    for row, busy in pairs:
        entry = found.setdefault((*places[row], names[row]), [0, 0.0])
        entry[0] += 1
        entry[1] += busy
    made = [
        Spent(path, phase, name, op_sort(name), int(count), busy)
        for (path, phase, name), (count, busy) in found.items()
    ]
    return tuple(sorted(made, key=lambda s: -s.busy))


def _launched(trace: Trace, rows: np.ndarray) -> list[tuple[int, float]]:
    """(operator, as index of ``rows``; seconds) of each event of a device whose operator is known."""
    of = launchers(trace)
    events = np.flatnonzero(of >= 0)
    return list(zip(np.searchsorted(rows, of[events]).tolist(), trace.duration[events].tolist(), strict=True))


def _placed(trace: Trace) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """(rows of operators and annotations, the parent of each among them, module path and phase of each)."""
    rows = np.flatnonzero(trace.of(("op", "annotation")))
    parent = parents(trace.start[rows], trace.end[rows], trace.track[rows])
    names = [trace.names[n] for n in trace.name[rows]]
    links = trace.link[rows].tolist()
    forward: dict[int, str] = {}  # number of an operator that autograd follows → its module
    order = np.lexsort((-trace.end[rows], trace.start[rows]))
    place_of: dict[int, tuple[str, str]] = {}
    for row in order.tolist():
        name, above = names[row], int(parent[row])
        place = place_of.get(above, ("", "forward"))
        if name.startswith(MARK):
            place = (name.removeprefix(MARK), "forward")
        elif name.startswith(BACKWARD):
            place = (forward.get(links[row], ""), "backward")
        elif name.startswith(OPTIMIZER):
            place = ("", "optimizer")
        elif links[row] >= 0 and place[1] == "forward":
            forward.setdefault(links[row], place[0])
        place_of[row] = place
    return rows, parent, [place_of[row] for row in range(rows.size)]
