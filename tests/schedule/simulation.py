"""A slow, independent pipeline: ranks as small machines that look at their list and their mail, one event at a time."""

from __future__ import annotations

import heapq
from collections import defaultdict

from speedlight.schedule.orders import BACKWARD, FORWARD, SHARED, Order


def simulate(
    order: Order, forward: list[float], backward: list[float], weight: list[float], shared: list[float], send: float
) -> tuple[float, float]:
    """(seconds until the last pass ends, most seconds a rank takes from its first to its last), by events.

    Nothing here knows about levels or predecessors: a rank starts its next pass when it is idle and the tensor it needs lies in
    its mailbox; a finished pass puts a tensor on the wire to the next rank, where one message at a time travels each way.
    """
    todo: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for rank, kind, micro, stage in zip(order.rank, order.kind, order.micro, order.stage, strict=True):
        todo[int(rank)].append((int(kind), int(micro), int(stage)))
    seconds = {
        FORWARD: forward,
        BACKWARD: [b + (0 if order.split else w) for b, w in zip(backward, weight, strict=True)],
        2: weight,
        SHARED: shared,
    }
    mail: set[tuple[int, int, int]] = {(FORWARD, m, 0) for m in range(order.micro_batches)}
    wire: dict[tuple[int, int], float] = defaultdict(float)
    free, started, ended = defaultdict(float), {}, {}
    events: list[tuple[float, int, str, tuple[int, ...]]] = []
    count = 0

    def at(time: float, what: str, data: tuple[int, ...]) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (time, count, what, data))

    working: set[int] = set()
    done_shares: dict[int, int] = defaultdict(int)

    def look(rank: int, now: float) -> None:
        if rank in working or not todo[rank]:
            return
        kind, micro, stage = todo[rank][0]
        if kind != 2 and (kind, micro, stage) not in mail:
            return
        if kind == BACKWARD and stage == order.stages - 1 and SHARED in order.kind and done_shares[micro] < order.ranks:
            return
        todo[rank].pop(0)
        working.add(rank)
        started.setdefault(rank, now)
        at(now + seconds[kind][stage], "done", (rank, kind, micro, stage))

    for rank in range(order.ranks):
        look(rank, 0.0)
    while events:
        now, _, what, data = heapq.heappop(events)
        if what == "mail":
            mail.add(data[1:])
            look(data[0], now)
            continue
        rank, kind, micro, stage = data
        working.discard(rank)
        ended[rank] = now
        copy = int(order.copy[list(order.micro).index(micro)])
        following = None
        if kind == FORWARD:
            following = (FORWARD, micro, stage + 1) if stage + 1 < order.stages else (BACKWARD, micro, stage)
        elif kind == BACKWARD and stage > 0:
            following = (BACKWARD, micro, stage - 1)
        if kind == FORWARD and stage == order.stages - 1:
            mail.update((SHARED, micro, r) for r in range(order.ranks))
        if kind == SHARED:
            done_shares[micro] += 1
        if kind in (FORWARD, SHARED):  # others may have waited for this, or for the last share
            for other in range(order.ranks):
                if other != rank:
                    look(other, now)
        if following is not None:
            target = int(order.holder[copy, following[2]])
            if target == rank:
                mail.add(following)
            else:
                wire[rank, target] = max(wire[rank, target], now) + send
                at(wire[rank, target], "mail", (target, *following))
        look(rank, now)
    assert not any(todo.values()), "deadlock"
    del free
    return max(ended.values()), max(ended[r] - started[r] for r in ended)
