"""When every pass of a pipeline runs: the longest paths through what waits for what, in NumPy, for many pipelines at once.

A pass starts when its rank is free and what it needs has arrived:

    start(n) = max(end(previous pass of the rank), arrival(pass whose result it takes))
    end(n) = start(n) + seconds(n)
    arrival(n) = max(end(n), arrival(previous message on the same link)) + seconds of sending

A link carries one message at a time each way; a pass on the same rank hands over for nothing. Passes are sorted by *level*
(the length of their longest chain), so that one NumPy call advances all passes of a level, of all pipelines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from .orders import BACKWARD, FORWARD, KINDS, SHARED, WEIGHT, Ints, Order

Floats = np.ndarray

NOISE = 1e-12  # relative; a difference this small is rounding
WORTH = 500_000  # passes × pipelines from which a compiled loop is worth it, where numba is at hand already

MOST = 2_000_000  # passes × pipelines laid at once: bounds memory (two arrays of eight bytes)


@dataclass(frozen=True, slots=True)
class Passes:
    """An order with what each pass waits for. Arrays hold one entry a pass, sorted by level; index ``size`` stands for none.

    Attributes:
        order: of each entry its rank, kind, micro-batch and stage.
        before: the rank's pass before it.
        needs: the pass whose result it takes.
        line: the message before it on the same link, by the pass that sent it.
        sends: 1 where its result goes to another rank.
        levels: where each level starts, and the end.
        last: last pass of each rank; first: its first.
        joins: by level, (place in the level, every rank's shared pass) of the backward pass that waits for them all.
    """

    order: Order
    before: Ints
    needs: Ints
    line: Ints
    sends: Ints
    levels: Ints
    first: Ints
    last: Ints
    joins: Mapping[int, tuple[int, Ints]]

    @property
    def size(self) -> int:
        return int(self.before.size)


def connect(order: Order) -> Passes:
    """What each pass waits for.

    Raises:
        ValueError: where the order never ends because ranks wait for each other.
    """
    n = order.kind.size
    at = np.full((len(KINDS), order.micro_batches, order.stages), n)
    at[order.kind, order.micro, order.stage] = np.arange(n)
    kind, micro, stage = order.kind, order.micro, order.stage
    here, there = np.full(n, n), np.full(n, n)
    forward, backward = kind == FORWARD, kind == BACKWARD
    last = order.stages - 1
    inner = forward & (stage > 0)
    here[inner] = at[FORWARD, micro[inner], stage[inner] - 1]
    inner = backward & (stage < last)
    here[inner] = at[BACKWARD, micro[inner], stage[inner] + 1]
    turn = backward & (stage == last)
    here[turn] = at[FORWARD, micro[turn], last]
    shared = kind == SHARED
    here[shared] = at[FORWARD, micro[shared], last]
    joined = np.flatnonzero(turn) if shared.any() else np.empty(0, int)
    sources = at[SHARED, micro[joined]]  # (joined, ranks)
    inner = forward & (stage < last)
    there[inner] = at[FORWARD, micro[inner], stage[inner] + 1]
    inner = backward & (stage > 0)
    there[inner] = at[BACKWARD, micro[inner], stage[inner] - 1]
    starts = np.flatnonzero(np.diff(order.rank, prepend=-1))
    before = np.arange(n) - 1
    before[starts] = n
    rank = np.append(order.rank, -1)
    target = np.where(there < n, rank[there], -1)
    sends = (target >= 0) & (target != order.rank)
    line = np.full(n, n)
    link = order.rank.astype(np.int64) * order.ranks + target
    senders = np.flatnonzero(sends)
    by = senders[np.argsort(link[senders], kind="stable")]
    same = link[by[1:]] == link[by[:-1]]
    line[by[1:][same]] = by[:-1][same]
    level = _levels(order, starts, here, dict(zip(joined.tolist(), sources, strict=True)))
    sort = np.argsort(level, kind="stable")
    place = np.append(np.empty(n, int), n)
    place[sort] = np.arange(n)
    ends = np.append(starts[1:], n) - 1
    levels = np.append(np.flatnonzero(np.diff(level[sort], prepend=-1)), n)
    joins = {
        int(level[j]): (int(place[j] - levels[level[j]]), place[which])
        for j, which in zip(joined, sources, strict=True)
    }
    return Passes(
        Order(
            order.rank[sort], kind[sort], micro[sort], stage[sort], order.ranks, order.micro_batches, order.stages,
            order.holder, order.split,
        ),
        place[before[sort]], place[here[sort]], place[line[sort]], sends[sort].astype(float),
        levels, place[starts], place[ends], joins,
    )  # fmt: skip


def _levels(order: Order, starts: Ints, needs: Ints, joins: Mapping[int, Ints]) -> Ints:
    """Longest chain before each pass: every rank's next pass runs as soon as what it needs has run, one a round."""
    n = order.kind.size
    level = np.full(n + 1, n)
    level[n] = -1
    next_ = starts.copy()
    stop = np.append(starts[1:], n)
    needed = np.append(needs, n)
    alive = np.arange(starts.size)
    for round_ in range(n):
        now = next_[alive]
        ready = level[needed[now]] < round_
        for i in np.flatnonzero(ready).tolist() if joins else ():
            if now[i] in joins:
                ready[i] = (level[joins[now[i]]] < round_).all()
        level[now[ready]] = round_
        moved = alive[ready]
        if not moved.size:
            raise ValueError("ranks wait for each other: this order never ends")
        next_[moved] += 1
        if (next_[moved] == stop[moved]).any():
            alive = np.flatnonzero(next_ < stop)
            if not alive.size:
                break
    return level[:n]


def run(passes: Passes, table: Floats, send: Floats, *, blocking: bool = False) -> tuple[Floats, Floats]:
    """(end, arrival of its result) of every pass of every pipeline, one row a pass.

    Args:
        table: seconds of a pass by kind and stage, (kinds, stages, pipelines).
        send: seconds of a message between ranks, one for each pipeline.
        blocking: a rank sends before it does anything else, in place of beside it.
    """
    size, points = passes.size, table.shape[-1]
    table = table.reshape(-1, points)
    if size * points > WORTH and not passes.joins and "numba" in sys.modules:
        return _compiled_run(passes, table, send, blocking)
    code = passes.order.kind * passes.order.stages + passes.order.stage
    sends = passes.sends[:, None] > 0
    end = np.zeros((size + 1, points))
    steps = list(enumerate(pairwise(passes.levels.tolist())))
    joins = passes.joins
    before, needs = passes.before, passes.needs
    if blocking or not np.any(send):
        for level, (a, b) in steps:
            done = np.maximum(end.take(before[a:b], 0), end.take(needs[a:b], 0))
            if level in joins:
                row, shared = joins[level]
                done[row] = np.maximum(done[row], end.take(shared, 0).max(axis=0))
            done += table.take(code[a:b], 0)
            if blocking:
                done += np.where(sends[a:b], send, 0.0)
            end[a:b] = done
        return end[:size], end[:size]
    arrived = np.zeros_like(end)
    shortest = table[np.unique(code[passes.sends > 0])].min(axis=0, initial=np.inf)
    queues = bool(np.any(send > shortest))  # else the link is free again before the next result is there
    for level, (a, b) in steps:
        done = np.maximum(end.take(before[a:b], 0), arrived.take(needs[a:b], 0))
        if level in joins:
            row, shared = joins[level]
            done[row] = np.maximum(done[row], end.take(shared, 0).max(axis=0))
        done += table.take(code[a:b], 0)
        end[a:b] = done
        if queues:
            line = passes.line[a:b]
            done = np.where(sends[a:b], np.maximum(done, arrived.take(line, 0)), done)
        arrived[a:b] = done + np.where(sends[a:b], send, 0.0)
    return end[:size], arrived[:size]


def _compiled_run(passes: Passes, table: Floats, send: Floats, blocking: bool) -> tuple[Floats, Floats]:
    code = passes.order.kind * passes.order.stages + passes.order.stage
    end = np.zeros((passes.size + 1, table.shape[1]))
    bare = blocking or not np.any(send)
    arrived = end if bare else np.zeros_like(end)
    beside = np.zeros(table.shape[1]) if bare else send
    first = send if blocking else np.zeros(table.shape[1])
    _compiled()(passes.before, passes.needs, passes.line, passes.sends > 0, code, table, first, beside, end, arrived)
    return end[:-1], arrived[:-1]


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    import numba

    walk: Callable[..., None] = numba.njit(cache=True)(_walk)
    return walk


def _walk(
    before: Any,
    needs: Any,
    line: Any,
    sends: Any,
    code: Any,
    table: Any,
    first: Any,
    beside: Any,
    end: Any,
    arrived: Any,
) -> None:
    """:func:`run` pass by pass, for numba: the same additions and maxima."""
    queues = arrived is not end
    for n in range(before.size):
        a, b, c = before[n], needs[n], code[n]
        for j in range(table.shape[1]):
            done = max(end[a, j], arrived[b, j]) + table[c, j]
            if sends[n]:
                done += first[j]
            end[n, j] = done
            if queues:
                arrived[n, j] = max(done, arrived[line[n], j]) + beside[j] if sends[n] else done


def repeats(passes: Passes, end: Floats) -> Floats:
    """Seconds each further micro-batch adds, of every pipeline: NaN where that is not known yet.

    Between fill and drain the passes of p micro-batches wait for those of at most 2p before by the same rules again and again. A
    pipeline is a max-plus linear system: once all its passes are p micro-batches later the same seconds later, for as long as
    anything looks back, they are for ever (Baccelli et al., "Synchronization and Linearity", 1992, §3.7).
    """
    order, p = passes.order, passes.order.ranks
    place = np.full((len(KINDS), order.micro_batches, order.stages), -1)
    place[order.kind, order.micro, order.stage] = np.arange(passes.size)
    place = place[(place >= 0).any(axis=(1, 2))]
    stop = order.micro_batches - 2 * p  # later ones may miss the forwards that drain no longer runs
    begin = p if order.stages == p else 2 * p
    early, late = place[:, begin : stop - p], place[:, begin + p : stop]

    def steady(stages: slice, points: Ints) -> tuple[Ints, Floats]:
        """Of some pipelines those that repeat themselves as far as some stages tell, and what p micro-batches add."""
        rows = np.ix_(early[..., stages].reshape(-1), points), np.ix_(late[..., stages].reshape(-1), points)
        later = end[rows[1]] - end[rows[0]]
        known = np.ptp(later, axis=0) <= NOISE * end[late[-1, -1, 0], points]
        return points[known], later[0, known]

    some, _ = steady(slice(1), np.arange(end.shape[1]))  # most that do not settle show it in their first stage
    some, more = steady(slice(None), some)
    added = np.full(end.shape[1], np.nan)
    added[some] = more / p
    return added


def held(passes: Passes) -> Ints:
    """Most stage activations each rank holds at once, of each rank: kept from a forward pass to the last gradient taken
    from it (of weights where those are split off), counted one a stage and micro-batch."""
    order = passes.order
    ends = WEIGHT if order.split else BACKWARD
    step = (order.kind == FORWARD).astype(int) - (order.kind == ends)
    by = np.argsort(order.rank, kind="stable")  # levels rise along a rank: its own order is kept
    most = np.zeros(order.ranks, int)
    for rank in range(order.ranks):
        most[rank] = np.cumsum(step[by][order.rank[by] == rank]).max()
    return most
