"""Engines of pipeline stages: as many batches in flight as stages, each with sequences of its own.

A sequence's next token waits for its last one, so that one batch alone would keep one stage busy at a time. Engines run a batch a
stage (vLLM: a scheduler a "virtual engine" in V0, a queue of ``pipeline_parallel_size`` batches in V1; TensorRT-LLM: ``num_micro_batches =
pp_size``; SGLang: ``pp_loop_size``). Here each is a *lane*: a group whose ranks hold its requests. A batch passes the
stages one after the other and enters each when the batch before it has left it:

    leaves_s = max(leaves_{s-1} of this batch, leaves_s of the batch before it) + seconds of stage s

What it did is booked when it leaves the last stage, before the lane plans its next one. Requests are dealt to the lane with
fewest, as a router deals them to engines. The host that prepares batches is one for all lanes.
"""

from __future__ import annotations

from ..compiled import compiled
from . import columns as c
from .columns import World
from .requests import preempt_part
from .step import attention_seconds, book, plan_step, token_seconds, widest


@compiled
def busy(w: World, g: int) -> bool:
    """Whether any rank of a group has something to do."""
    for e in range(w.n[g, c.FIRST_RANK], w.n[g, c.FIRST_RANK] + w.n[g, c.RANKS]):
        if w.n[e, c.DECODES] > 0 or w.n[e, c.PARTS] > 0 or w.n[e, c.QUEUE] >= 0 or w.n[e, c.SWAP] >= 0:
            return True
    return False


@compiled
def wake(w: World, g: int, time: float) -> None:
    """Something came for a group; where it stood still, its next step starts now and sees it."""
    if w.n[g, c.BUSY] == 0:
        w.n[g, c.BUSY] = 1
        if time >= w.x[g, c.NOW]:
            w.x[g, c.NOW] = time
            w.x[g, c.SEEN] = time


@compiled
def wake_lanes(w: World, g: int, time: float) -> None:
    """Blocks may be free: lanes of a group's engine that wait for them try again."""
    lead = w.n[g, c.LEAD]
    for k in range(w.n[lead, c.LANES]):
        lane = lead + k * w.n[lead, c.NEXT_LANE]
        if busy(w, lane):
            wake(w, lane, time)


@compiled
def land(w: World, p: int, g: int) -> bool:
    """A lane's batch has left the last stage; False where none was under way."""
    if w.n[g, c.LAUNCHED] == 0:
        return False
    w.n[g, c.LAUNCHED] = 0
    book(w, p, g, w.n[g, c.WITH_DECODES] == 1, w.x[g, c.NOW])
    return True


@compiled
def tells(w: World, g: int, decodes: bool) -> bool:
    """Whether a batch as planned ends with a token of any request."""
    for e in range(w.n[g, c.FIRST_RANK], w.n[g, c.FIRST_RANK] + w.n[g, c.RANKS]):
        if decodes and w.n[e, c.DECODES] > 0:
            return True
        for i in range(w.n[e, c.PARTS]):
            r = w.list[w.n[e, c.PART] + i]
            if w.req[r, c.CACHED] + w.list[w.n[e, c.CHUNK] + i] >= w.req[r, c.NEED]:
                return True
    return False


@compiled
def launch(w: World, p: int, g: int) -> bool:
    """Send a lane's next batch through the stages; False when it has nothing to do.

    A batch of pieces none of which completes its prompt tells the scheduler nothing, so that where the policy lets pieces follow
    each other the next one enters as soon as the first stage is free: every stage sees them in order.
    """
    extra, prompts, decodes, preempted = plan_step(w, p, g)
    if not prompts and not decodes:
        if preempted:  # what it gave up is there for the other lanes
            wake_lanes(w, g, w.x[g, c.NOW])
        return False
    lead, now = w.n[g, c.LEAD], w.x[g, c.NOW]
    tokens, rows, sequences, adapters = widest(w, g, w.n[p, c.DRAFTED], decodes)
    host = w.x[p, c.HOST_STEP] + w.x[p, c.HOST_SEQUENCE] * sequences
    time = max(now, w.x[lead, c.HOST_FREE])
    w.x[lead, c.HOST_FREE] = time + host
    if w.n[p, c.OVERLAP] == 0:
        time += host
    time += extra
    slowest, first_left = 0.0, 0.0
    for s in range(w.n[p, c.STAGES]):
        tables, free = w.n[p, c.STAGE_ROW] + s, w.n[lead, c.STAGE_FREE] + s
        decode, prefill = attention_seconds(w, tables, g, decodes)
        seconds = token_seconds(w, tables, tokens, rows, adapters) + decode + prefill
        time = max(time, w.real[free]) + seconds
        w.real[free] = time
        slowest = max(slowest, seconds)
        if s == 0:
            first_left = time
    w.x[lead, c.BUSY_SECONDS] += slowest
    if w.n[p, c.PIECES_FOLLOW] == 1 and not tells(w, g, decodes):
        time = first_left
    if w.n[p, c.OVERLAP] == 1:
        time = max(time, w.x[lead, c.HOST_FREE])
    w.n[g, c.LAUNCHED] = 1
    w.n[g, c.WITH_DECODES] = 1 if decodes else 0
    w.x[g, c.SEEN] = now
    w.x[g, c.NOW] = time
    return True


@compiled
def relieve(w: World, p: int, g: int, time: float) -> None:
    """Where nothing of an engine is under way, yet lanes wait, prompts half computed hold each other's blocks.

    The first lane's go on; those of the others are given up and start anew.
    """
    lead = w.n[g, c.LEAD]
    lanes, apart = w.n[lead, c.LANES], w.n[lead, c.NEXT_LANE]
    for k in range(lanes):
        if w.n[lead + k * apart, c.BUSY] == 1:
            return
    freed = False
    for i in range(w.n[lead, c.RANKS]):
        kept = False
        for k in range(lanes):
            e = w.n[lead + k * apart, c.FIRST_RANK] + i
            if not kept:
                kept = w.n[e, c.PARTS] > 0
                continue
            while w.n[e, c.PARTS] > 0:
                preempt_part(w, p, e)
                freed = True
    if freed:
        wake_lanes(w, g, time)
