"""The clock: events and steps in the order of their times, requests to ranks, groups started and stopped."""

from __future__ import annotations

import numpy as np

from ..compiled import compiled
from . import columns as c
from .columns import World
from .heap import pop
from .lanes import busy, land, launch, relieve, wake, wake_lanes
from .plan import refuse
from .requests import after, give_back, queue_last
from .step import step


@compiled
def load_of(w: World, e: int) -> int:
    return w.n[e, c.DECODES] + w.n[e, c.PARTS] + w.n[e, c.QUEUED_COUNT]


@compiled
def choose_rank(w: World, pool: int, time: float) -> int:
    """The rank that a request goes to, among those of active groups: in turn, or the least loaded, the first of equals."""
    found, least = -1, 0
    first, ranks = w.n[c.RUN, c.GROUPS_END], w.n[c.RUN, c.RANKS_END] - w.n[c.RUN, c.GROUPS_END]
    turn = c.NEXT_RANK + pool - c.POOLS
    offset = w.n[c.RUN, turn] if w.n[c.RUN, c.ROUTER] == 0 else 0
    for k in range(ranks):
        e = first + (offset + k) % ranks
        g = w.n[e, c.GROUP]
        if w.n[g, c.POOL] != pool or w.n[g, c.ACTIVE] == 0 or w.x[g, c.READY_AT] > time:
            continue
        if w.n[c.RUN, c.ROUTER] == 0:
            w.n[c.RUN, turn] = e - first + 1
            return e
        load = load_of(w, e)
        if found < 0 or load < least:
            found, least = e, load
    return found


@compiled
def idle(w: World, lead: int) -> bool:
    """Whether none of an engine's groups runs."""
    running = 0
    for k in range(w.n[lead, c.LANES]):
        running += w.n[lead + k * w.n[lead, c.NEXT_LANE], c.BUSY]
    return running == 0


@compiled
def scale(w: World, time: float) -> None:
    """Start an engine when the requests in flight per active rank exceed the bound, stop an idle one when they fall below."""
    if w.x[c.RUN, c.SCALE_UP] <= 0.0:
        return
    ranks, active, spare, resting = 0, 0, -1, -1
    for g in range(w.n[c.RUN, c.GROUPS], w.n[c.RUN, c.GROUPS_END]):
        if w.n[g, c.LEAD] != g:
            continue
        if w.n[g, c.ACTIVE] == 1:
            active += 1
            ranks += w.n[g, c.RANKS]
            if idle(w, g) and w.x[g, c.READY_AT] <= time:
                resting = g
        elif spare < 0:
            spare = g
    load = w.n[c.RUN, c.IN_FLIGHT] / max(ranks, 1)
    if load > w.x[c.RUN, c.SCALE_UP] and spare >= 0:
        for k in range(w.n[spare, c.LANES]):
            g = spare + k * w.n[spare, c.NEXT_LANE]
            w.n[g, c.ACTIVE] = 1
            w.x[g, c.READY_AT] = time + w.x[c.RUN, c.COLD_START]
        w.x[spare, c.ACTIVE_SINCE] = time
        w.n[c.RUN, c.STARTS] += 1
    elif load < w.x[c.RUN, c.SCALE_DOWN] and resting >= 0 and active > w.n[c.RUN, c.LEAST_GROUPS]:
        for k in range(w.n[resting, c.LANES]):
            w.n[resting + k * w.n[resting, c.NEXT_LANE], c.ACTIVE] = 0
        w.x[resting, c.ACTIVE_SECONDS] += time - w.x[resting, c.ACTIVE_SINCE]


@compiled
def deliver(w: World, r: int, time: float, pool: int) -> None:
    """A request reaches a rank of a pool."""
    e = choose_rank(w, pool, time)
    g = w.n[e, c.GROUP]
    w.req[r, c.RANK] = e
    queue_last(w, e, r, time)
    wake(w, g, time)


@compiled
def arrive(w: World, r: int, time: float) -> None:
    w.when[r, c.ARRIVAL] = time
    if w.req[r, c.STATE] == c.REFUSED:  # more than the engine ever holds
        w.n[c.RUN, c.ENDED_COUNT] += 1
        after(w, r, time)
        return
    w.req[r, c.NEED] = w.req[r, c.PROMPT]
    w.n[c.RUN, c.IN_FLIGHT] += 1
    scale(w, time)
    deliver(w, r, time, c.POOLS)


@compiled
def sample(w: World, time: float) -> None:
    """Keep the state of all ranks; when the table is full every other sample goes and the interval doubles."""
    if time < w.x[c.RUN, c.NEXT_SAMPLE]:
        return
    i, start = w.n[c.RUN, c.SAMPLES], w.n[c.RUN, c.SAMPLE]
    if i == w.n[c.RUN, c.SAMPLES_MOST]:
        i = i // 2
        for k in range(i):
            for column in range(c.SAMPLE_COLUMNS):
                w.real[start + k * c.SAMPLE_COLUMNS + column] = w.real[start + 2 * k * c.SAMPLE_COLUMNS + column]
        w.x[c.RUN, c.SAMPLE_EVERY] *= 2.0
    running, waiting, blocks, active = 0, 0, 0, 0
    for e in range(w.n[c.RUN, c.GROUPS_END], w.n[c.RUN, c.RANKS_END]):
        running += w.n[e, c.DECODES] + w.n[e, c.PARTS]
        waiting += w.n[e, c.QUEUED_COUNT]
        blocks += w.n[e, c.USED]
    for g in range(w.n[c.RUN, c.GROUPS], w.n[c.RUN, c.GROUPS_END]):
        active += w.n[g, c.ACTIVE] if w.n[g, c.LEAD] == g else 0
    at = start + i * c.SAMPLE_COLUMNS
    w.real[at], w.real[at + 1], w.real[at + 2] = time, running, waiting
    w.real[at + 3], w.real[at + 4], w.real[at + 5] = blocks, active, w.n[c.RUN, c.ENDED_COUNT]
    w.n[c.RUN, c.SAMPLES] = i + 1
    w.x[c.RUN, c.NEXT_SAMPLE] = time + w.x[c.RUN, c.SAMPLE_EVERY]


@compiled
def unblock(w: World, time: float) -> bool:
    """Nothing runs and nothing comes, yet somebody waits: what stands first can never start, and is refused."""
    for e in range(w.n[c.RUN, c.GROUPS_END], w.n[c.RUN, c.RANKS_END]):
        if w.n[e, c.QUEUE] >= 0:
            refuse(w, e, time)
            wake(w, w.n[e, c.GROUP], time)
            return True
    return False


@compiled
def run(w: World, until: float) -> float:
    """Simulate until everything is served, or no step would start before ``until``; returns the time reached.

    A group takes its step when no event and no other group's step comes before: so that whatever a step causes lies ahead
    of every state it may change.
    """
    total = w.n[c.RUN, c.ARRIVALS]
    reached = 0.0
    while True:
        g, now, others = -1, np.inf, np.inf
        for k in range(w.n[c.RUN, c.GROUPS], w.n[c.RUN, c.GROUPS_END]):
            if w.n[k, c.BUSY] == 1:
                if w.x[k, c.NOW] < now:
                    g, others, now = k, now, w.x[k, c.NOW]
                elif w.x[k, c.NOW] < others:
                    others = w.x[k, c.NOW]
        following = np.inf
        scheduled = False
        if w.n[c.RUN, c.EVENTS] > 0:
            following = w.real[w.n[c.RUN, c.EVENT_TIME]]
            scheduled = True
        n = w.n[c.RUN, c.NEXT_ARRIVAL]
        if w.n[c.RUN, c.CLOSED] == 0 and n < total and w.when[n, c.ARRIVAL] <= following:
            following = w.when[n, c.ARRIVAL]
            scheduled = False
        if following == np.inf and g < 0:
            if not unblock(w, reached):
                break
            continue
        if min(following, now) >= until:
            break
        if following <= now:
            reached = max(reached, following)
            if not scheduled:
                w.n[c.RUN, c.NEXT_ARRIVAL] = n + 1
                arrive(w, n, following)
                continue
            kind, r = pop(w)
            if kind == c.ARRIVES:
                if r < 0:  # steps are booked when they begin: whose ends first is known only now
                    r = w.n[c.RUN, c.SENT]
                    w.n[c.RUN, c.SENT] += 1
                arrive(w, r, following)
            else:
                e = w.req[r, c.RANK]
                give_back(w, c.POOLS, e, r, w.req[r, c.CACHED])
                wake_lanes(w, w.n[e, c.GROUP], following)
                w.req[r, c.NEED] = 0
                deliver(w, r, following, c.POOLS + 1)
            continue
        p = w.n[g, c.POOL]
        if w.n[p, c.STAGES] > 0:
            if land(w, p, g):
                reached = max(reached, now)
                wake_lanes(w, g, now)
                sample(w, now)
                continue  # whoever heard of it at this very time sends before the next batch is planned
            if not launch(w, p, g):
                if w.x[g, c.SEEN] < now:
                    w.x[g, c.SEEN] = now
                    continue
                w.n[g, c.BUSY] = 0
                # also by a lane that has nothing to do: others may have tried before it stood still
                relieve(w, p, g, now)
            continue
        horizon = min(following, until)
        if w.n[c.RUN, c.COUPLED] == 1:
            horizon = min(horizon, others)
        if step(w, p, g, horizon):
            w.n[g, c.BUSY] = 1 if busy(w, g) else 0
            reached = max(reached, w.x[g, c.NOW])
            if w.x[g, c.NOW] >= w.x[c.RUN, c.NEXT_SAMPLE]:
                sample(w, w.x[g, c.NOW])
        elif w.x[g, c.SEEN] < now:
            w.x[g, c.SEEN] = now  # nothing ran: what came meanwhile is seen now
        else:
            w.n[g, c.BUSY] = 0  # waits for blocks that a transfer frees
    for g in range(w.n[c.RUN, c.GROUPS], w.n[c.RUN, c.GROUPS_END]):
        if w.n[g, c.ACTIVE] == 1 and w.n[g, c.LEAD] == g:
            w.x[g, c.ACTIVE_SECONDS] += reached - w.x[g, c.ACTIVE_SINCE]
    return reached
