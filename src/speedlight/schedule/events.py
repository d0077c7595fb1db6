"""Tasks on streams that share resources: an event loop for what no closed form says.

A *stream* (of kernels, a copy engine, a host thread, a disk queue) runs its tasks in the order they were issued, one at a time.
A running task wants a share of each *resource* (the SMs, a link, host memory, a disk): where shares add up to more than the
resource has, tasks that are not *firm* slow down, all by the same factor until one of their resources is free again (max-min
fair shares by progressive filling, as flows on a link). Firm tasks take their shares first: a communication kernel keeps the
SMs it started on, and a product beside it gets the rest.

Between two events rates are constant, so an event's time is exact; nothing is sampled. Events at one time are taken in the order
of tasks: the same tasks give the same timeline. The loop is written for numba (extra ``fast``) and runs the same without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from .._foundation.errors import BadInput, MissingDependency
from .trace import Flow, Span, Trace, Track

Floats = np.ndarray


@dataclass(frozen=True, slots=True)
class Task:
    """Something to run.

    Attributes:
        seconds: alone, with all it wants.
        stream: where it is issued; a stream's tasks run in the order they are listed.
        uses: share of each resource it takes at full speed, 0–1 of what the resource has.
        after: numbers of the tasks that must be done before it starts.
        firm: keeps its shares whatever else wants them.
    """

    name: str
    seconds: float
    stream: str
    uses: Mapping[str, float] = field(default_factory=dict)
    after: tuple[int, ...] = ()
    firm: bool = False
    kind: str = "task"


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each task ran; ``time`` is when the last one ended."""

    tasks: tuple[Task, ...]
    start: Floats
    end: Floats
    cause: np.ndarray

    @property
    def time(self) -> float:
        return float(self.end.max()) if self.end.size else 0.0

    def critical(self) -> list[int]:
        """Tasks of a chain without holes, last first: each was let go by the end of the next in the list."""
        chain = []
        at = int(np.argmax(self.end)) if self.end.size else -1
        while at >= 0:
            chain.append(at)
            at = int(self.cause[at])
        return chain

    def trace(self, group: str = "device") -> Trace:
        """A picture of it, a track a stream."""
        streams = {task.stream: None for task in self.tasks}
        number = {name: i for i, name in enumerate(streams)}
        chain = set(self.critical())
        spans = tuple(
            Span(number[t.stream], t.name, float(s), float(e), t.kind, i in chain, {"alone_s": t.seconds, **t.uses})
            for i, (t, s, e) in enumerate(zip(self.tasks, self.start, self.end, strict=True))
        )
        flows = tuple(
            Flow("after", before, i)
            for i, task in enumerate(self.tasks)
            for before in task.after
            if self.tasks[before].stream != task.stream
        )
        return Trace(self.time, tuple(Track(group, name) for name in streams), spans, flows)


def simulate(tasks: Sequence[Task], *, fast: bool = False) -> Timeline:
    """Run tasks as early as streams, what they come after and shares allow.

    Args:
        fast: compile the loop with numba (the same numbers; worth it from some thousand tasks on).

    Raises:
        BadInput: for a task after one that does not exist, shares or seconds below 0, or a circle.
        MissingDependency: ``fast`` without numba.
    """
    number = {name: i for i, name in enumerate({task.stream: None for task in tasks})}
    resources = {name: i for i, name in enumerate({name: None for task in tasks for name in task.uses})}
    n = len(tasks)
    seconds = np.array([task.seconds for task in tasks], dtype=float)
    uses = np.zeros((n, len(resources)))
    stream = np.array([number[task.stream] for task in tasks], dtype=np.int64)
    firm = np.array([task.firm for task in tasks], dtype=np.bool_)
    followers: list[list[int]] = [[] for _ in tasks]
    waits = np.zeros(n, dtype=np.int64)
    for i, task in enumerate(tasks):
        for name, share in task.uses.items():
            uses[i, resources[name]] = share
        for before in dict.fromkeys(task.after):
            if not 0 <= before < n:
                raise BadInput(f"{task.name} comes after task {before}", expected=f"a task from 0 to {n - 1}")
            followers[before].append(i)
            waits[i] += 1
    if np.any(uses < 0) or np.any(uses > 1) or np.any(~(seconds >= 0)) or np.any(np.isinf(seconds)):
        raise BadInput("a task's seconds or shares are out of range", expected="seconds ≥ 0 and shares from 0 to 1")
    queue = np.argsort(stream, kind="stable")
    heads = np.append(np.searchsorted(stream[queue], np.arange(len(number))), n)
    pointer = np.append(0, np.cumsum([len(f) for f in followers])).astype(np.int64)
    flat = np.array([i for f in followers for i in f], dtype=np.int64)
    start, end, cause = np.zeros(n), np.full(n, -1.0), np.full(n, -1, dtype=np.int64)
    loop = _compiled() if fast else run_events
    loop(seconds, uses, firm, waits, pointer, flat, queue, heads, start, end, cause)
    if np.any(end < 0):
        stuck = [tasks[i].name for i in np.flatnonzero(end < 0)[:3]]
        raise BadInput("tasks wait for each other: " + ", ".join(stuck), expected="an order without a circle")
    return Timeline(tuple(tasks), start, end, cause)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    try:
        import numba
    except ImportError:
        raise MissingDependency("numba", "fast", "a compiled timeline") from None
    loop: Callable[..., None] = numba.njit(cache=True)(run_events)
    return loop


def run_events(
    seconds: Any, uses: Any, firm: Any, waits: Any, pointer: Any, followers: Any, queue: Any, heads: Any,
    start: Any, end: Any, cause: Any,
) -> None:  # fmt: skip
    """The event loop on arrays; fills ``start``, ``end`` (−1: never ran) and ``cause`` (the task whose end let it go, or −1)."""
    n, kinds = uses.shape
    streams = heads.size - 1
    place = heads[:-1].copy()  # of each stream: its next task in ``queue``
    running = np.full(streams, -1)
    left = seconds.copy()
    rate = np.zeros(n)
    room = np.zeros(kinds)
    latest = np.full(n, -1)  # the task whose end it waited for last
    before = np.full(streams, -1)
    now = 0.0
    done = 0
    while done < n:
        for s in range(streams):  # whatever may start, starts
            if running[s] < 0 and place[s] < heads[s + 1]:
                task = queue[place[s]]
                if waits[task] == 0:
                    running[s] = task
                    place[s] += 1
                    start[task] = now
                    cause[task] = before[s]
                    if latest[task] >= 0 and (before[s] < 0 or end[latest[task]] >= end[before[s]]):
                        cause[task] = latest[task]
        busy = 0
        for s in range(streams):
            if running[s] >= 0:
                busy += 1
                rate[running[s]] = -1.0
        if busy == 0:
            return
        room[:] = 1.0
        for firmly in (True, False):  # firm tasks fill first, then the others share what is left
            level = 0.0
            open_ = 0
            for s in range(streams):
                if running[s] >= 0 and firm[running[s]] == firmly:
                    open_ += 1
            while open_ > 0:
                step = 1.0 - level
                for r in range(kinds):
                    wanted = 0.0
                    for s in range(streams):
                        task = running[s]
                        if task >= 0 and firm[task] == firmly and rate[task] < 0:
                            wanted += uses[task, r]
                    if wanted > 0 and room[r] < wanted * step:
                        step = room[r] / wanted
                level += step
                full = level >= 1.0 - 1e-15
                for r in range(kinds):
                    wanted = 0.0
                    for s in range(streams):
                        task = running[s]
                        if task >= 0 and firm[task] == firmly and rate[task] < 0:
                            wanted += uses[task, r]
                    room[r] = max(room[r] - wanted * step, 0.0)
                for s in range(streams):
                    task = running[s]
                    if task >= 0 and firm[task] == firmly and rate[task] < 0:
                        stop = full
                        for r in range(kinds):
                            if uses[task, r] > 0 and room[r] <= 1e-12:
                                stop = True
                        if stop:
                            rate[task] = level
                            open_ -= 1
        step = np.inf
        for s in range(streams):
            task = running[s]
            if task >= 0 and left[task] <= 0.0:
                step = 0.0
            elif task >= 0 and rate[task] > 0:
                step = min(step, left[task] / rate[task])
        if step == np.inf:
            return  # nothing moves; cannot be while firm tasks end
        now += step
        for s in range(streams):
            task = running[s]
            if task < 0:
                continue
            ends = left[task] <= rate[task] * step * (1 + 1e-12)  # 0 ≤ 0 too: a task of no length ends at once
            left[task] -= rate[task] * step
            if ends:
                end[task] = now
                running[s] = -1
                before[s] = task
                done += 1
                for at in range(pointer[task], pointer[task + 1]):
                    waits[followers[at]] -= 1
                    latest[followers[at]] = task
