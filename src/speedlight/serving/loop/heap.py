"""A heap of events ordered by time, then by the order in which they were pushed."""

from __future__ import annotations

from ..compiled import compiled
from . import columns as c
from .columns import World


@compiled
def before(w: World, i: int, j: int) -> bool:
    times, events = w.n[c.RUN, c.EVENT_TIME], w.n[c.RUN, c.EVENT]
    a, b = w.real[times + i], w.real[times + j]
    return a < b or (a == b and w.list[events + 3 * i] < w.list[events + 3 * j])


@compiled
def swap(w: World, i: int, j: int) -> None:
    times, events = w.n[c.RUN, c.EVENT_TIME], w.n[c.RUN, c.EVENT]
    held = w.real[times + i]
    w.real[times + i] = w.real[times + j]
    w.real[times + j] = held
    for k in range(3):
        whole = w.list[events + 3 * i + k]
        w.list[events + 3 * i + k] = w.list[events + 3 * j + k]
        w.list[events + 3 * j + k] = whole


@compiled
def push(w: World, time: float, kind: int, request: int) -> None:
    i = w.n[c.RUN, c.EVENTS]
    w.n[c.RUN, c.EVENTS] = i + 1
    w.real[w.n[c.RUN, c.EVENT_TIME] + i] = time
    at = w.n[c.RUN, c.EVENT] + 3 * i
    w.list[at] = w.n[c.RUN, c.SERIAL]
    w.list[at + 1] = kind
    w.list[at + 2] = request
    w.n[c.RUN, c.SERIAL] += 1
    while i > 0 and before(w, i, (i - 1) // 2):
        swap(w, i, (i - 1) // 2)
        i = (i - 1) // 2


@compiled
def pop(w: World) -> tuple[int, int]:
    """Kind and request of the earliest event."""
    at = w.n[c.RUN, c.EVENT]
    kind, request = w.list[at + 1], w.list[at + 2]
    last = w.n[c.RUN, c.EVENTS] - 1
    w.n[c.RUN, c.EVENTS] = last
    if last > 0:
        swap(w, 0, last)
        i = 0
        while True:
            least, left = i, 2 * i + 1
            if left < last and before(w, left, least):
                least = left
            if left + 1 < last and before(w, left + 1, least):
                least = left + 1
            if least == i:
                break
            swap(w, i, least)
            i = least
    return kind, request
