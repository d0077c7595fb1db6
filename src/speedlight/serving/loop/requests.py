"""What happens to one request on one rank: it queues, starts, decodes, is preempted, ends."""

from __future__ import annotations

from ..compiled import compiled
from . import columns as c
from .columns import World
from .heap import push
from .prefix import let_go

NEVER = 1 << 60


@compiled
def blocks_of(w: World, p: int, tokens: int) -> int:
    """Blocks that a sequence of so many cached tokens takes (:meth:`..steps.Capacity.blocks_of`)."""
    pages = (tokens + w.n[p, c.BLOCK_SIZE] - 1) // w.n[p, c.BLOCK_SIZE]
    return (
        w.n[p, c.FIXED_BLOCKS]
        + w.n[p, c.FULL_GROUPS] * pages
        + w.n[p, c.WINDOW_GROUPS] * min(pages, w.n[p, c.WINDOW_PAGES])
    )


@compiled
def at_end(w: World, p: int, r: int) -> int:
    """Blocks that a request will take at its last token here."""
    return blocks_of(w, p, w.req[r, c.PROMPT] + (1 if w.n[p, c.PREFILL_ONLY] == 1 else w.req[r, c.OUTPUT]))


@compiled
def queue_last(w: World, e: int, r: int, time: float) -> None:
    w.req[r, c.STATE] = c.WAITING
    w.req[r, c.NEXT] = -1
    w.when[r, c.QUEUED] = time
    if w.n[e, c.QUEUE] < 0:
        w.n[e, c.QUEUE] = r
    else:
        w.req[w.n[e, c.QUEUE_END], c.NEXT] = r
    w.n[e, c.QUEUE_END] = r
    w.n[e, c.QUEUED_COUNT] += 1


@compiled
def queue_first(w: World, e: int, r: int) -> None:
    w.req[r, c.STATE] = c.WAITING
    w.req[r, c.NEXT] = w.n[e, c.QUEUE]
    if w.n[e, c.QUEUE] < 0:
        w.n[e, c.QUEUE_END] = r
    w.n[e, c.QUEUE] = r
    w.n[e, c.QUEUED_COUNT] += 1


@compiled
def unqueue(w: World, e: int) -> int:
    """The first request of the queue, taken out."""
    r = w.n[e, c.QUEUE]
    w.n[e, c.QUEUE] = w.req[r, c.NEXT]
    if w.n[e, c.QUEUE] < 0:
        w.n[e, c.QUEUE_END] = -1
    w.n[e, c.QUEUED_COUNT] -= 1
    return r


@compiled
def length_now(w: World, e: int, r: int) -> int:
    """Cached tokens of a decoding request: prompt and what it generated, but the last token, which the next step reads."""
    return w.req[r, c.PROMPT] + w.req[r, c.BASE] + w.n[e, c.STEP] - 1


@compiled
def count_pages(w: World, p: int, e: int, r: int, sign: int) -> None:
    """Enter a decoding request at the steps (modulo the block size) at which it needs a page, or take it out.

    Decoding sequences grow by one token a step together, so which of them start a page at a step depends on the step's
    remainder alone. With drafted tokens they do not, and :func:`.plan.plan_drafts` counts.
    """
    if w.n[p, c.DRAFTED] > 0:
        return
    offset = w.req[r, c.PROMPT] + w.req[r, c.BASE] - 1  # cached tokens = offset + step
    key = (-offset) % w.n[p, c.BLOCK_SIZE]
    w.list[w.n[e, c.RESIDUE] + key] += sign * w.n[p, c.FULL_GROUPS]
    if w.n[p, c.WINDOW_GROUPS] > 0:
        outgrown = w.n[p, c.WINDOW_PAGES] * w.n[p, c.BLOCK_SIZE] - offset
        if outgrown > w.n[e, c.STEP]:
            w.list[w.n[e, c.RESIDUE] + key] += sign * w.n[p, c.WINDOW_GROUPS]
            if sign > 0:
                w.n[e, c.WINDOW_END] = min(w.n[e, c.WINDOW_END], outgrown)


@compiled
def start_decoding(w: World, p: int, e: int, r: int) -> None:
    """It joins the decoding ones; its blocks for the tokens cached so far are taken already."""
    n = w.n[e, c.DECODES]
    w.list[w.n[e, c.DEC] + n] = r
    w.n[e, c.DECODES] = n + 1
    w.list[w.n[e, c.NEWCOMERS] + w.n[e, c.FRESH]] = r
    w.n[e, c.FRESH] += 1
    w.req[r, c.STATE] = c.DECODING
    w.req[r, c.BASE] = w.req[r, c.DONE] - w.n[e, c.STEP]
    w.req[r, c.END] = w.req[r, c.OUTPUT] - w.req[r, c.BASE]
    w.n[e, c.NEXT_END] = min(w.n[e, c.NEXT_END], w.req[r, c.END])
    w.n[e, c.CONTEXT] += length_now(w, e, r)
    count_pages(w, p, e, r, 1)


@compiled
def give_back(w: World, p: int, e: int, r: int, cached: int) -> None:
    """Its blocks for so many cached tokens are free, its links of the prefix cache and its adapter let go."""
    own, m = w.req[r, c.SHARED] * w.n[p, c.LINK_BLOCKS], w.n[e, c.ROOM]
    w.n[m, c.USED] -= blocks_of(w, p, cached) - own
    w.n[m, c.COMMITTED] -= at_end(w, p, r) - own
    let_go(w, p, m, r)
    w.n[m, c.REMAINING] -= w.req[r, c.OUTPUT] - w.req[r, c.DONE]
    a = w.req[r, c.ADAPTER]
    if a > 0:
        w.list[w.n[e, c.ADAPTER_HELD] + a] -= 1
        if w.list[w.n[e, c.ADAPTER_HELD] + a] == 0:
            w.n[e, c.ADAPTERS] -= 1


@compiled
def after(w: World, r: int, time: float) -> None:
    """Send what waited for a request to end (or to be refused)."""
    if w.n[c.RUN, c.CLOSED] == 1 and w.n[c.RUN, c.NEXT_ARRIVAL] < len(w.req):
        push(w, time + w.x[c.RUN, c.THINK], c.ARRIVES, -1)  # the next one there is when it is sent
        w.n[c.RUN, c.NEXT_ARRIVAL] += 1
    for i in range(w.req[r, c.CHILD], w.req[r, c.CHILD_END]):
        child = w.list[i]
        w.req[child, c.PARENTS] -= 1
        if w.req[child, c.PARENTS] == 0 and w.req[child, c.STATE] == c.UNSENT:
            push(w, time + w.real[w.n[c.RUN, c.DELAYS] + i - w.n[c.RUN, c.CHILDREN]], c.ARRIVES, child)


@compiled
def finish(w: World, r: int, time: float) -> None:
    """It is done; whoever waited for that (the client of a closed loop, a later call of its graph) sends."""
    w.req[r, c.STATE] = c.ENDED
    w.req[r, c.DONE] = w.req[r, c.OUTPUT]
    w.when[r, c.FINISHED] = time
    w.n[c.RUN, c.ENDED_COUNT] += 1
    w.n[c.RUN, c.IN_FLIGHT] -= 1
    after(w, r, time)


@compiled
def end_decodes(w: World, p: int, e: int, time: float) -> None:
    """Finish the decoding requests whose last token is there; the others keep their order."""
    step = w.n[e, c.STEP]
    kept, least = 0, NEVER
    for i in range(w.n[e, c.DECODES]):
        r = w.list[w.n[e, c.DEC] + i]
        if w.req[r, c.END] > step:
            w.list[w.n[e, c.DEC] + kept] = r
            kept += 1
            least = min(least, w.req[r, c.END])
            continue
        count_pages(w, p, e, r, -1)
        cached = length_now(w, e, r)
        w.n[e, c.CONTEXT] -= cached
        w.req[r, c.DONE] = w.req[r, c.OUTPUT]
        give_back(w, p, e, r, cached)
        finish(w, r, time)
    w.n[e, c.DECODES] = kept
    w.n[e, c.NEXT_END] = least


@compiled
def pass_windows(w: World, p: int, e: int) -> None:
    """Sequences that outgrew the window need no more pages in its layers."""
    step, least = w.n[e, c.STEP], NEVER
    for i in range(w.n[e, c.DECODES]):
        r = w.list[w.n[e, c.DEC] + i]
        offset = w.req[r, c.PROMPT] + w.req[r, c.BASE] - 1
        outgrown = w.n[p, c.WINDOW_PAGES] * w.n[p, c.BLOCK_SIZE] - offset
        if outgrown == step:
            w.list[w.n[e, c.RESIDUE] + (-offset) % w.n[p, c.BLOCK_SIZE]] -= w.n[p, c.WINDOW_GROUPS]
        elif outgrown > step:
            least = min(least, outgrown)
    w.n[e, c.WINDOW_END] = least


@compiled
def count_preemption(w: World, e: int, r: int) -> None:
    w.req[r, c.PREEMPTED] += 1
    w.n[c.RUN, c.PREEMPTIONS] += 1
    w.n[e, c.RESET] = w.n[e, c.STEP]


@compiled
def out_of_memory(w: World, p: int, e: int, r: int, cached: int) -> float:
    """To host memory where the policy swaps and there is room; else to the head of the queue, to be computed again."""
    count_preemption(w, e, r)
    blocks, m = blocks_of(w, p, cached), w.n[e, c.ROOM]
    if w.n[p, c.SWAPPING] == 1 and w.n[m, c.SWAP_USED] + blocks <= w.n[p, c.SWAP_BLOCKS]:
        w.n[m, c.SWAP_USED] += blocks
        w.n[c.RUN, c.SWAPS] += 1
        w.req[r, c.STATE] = c.SWAPPED
        w.req[r, c.CACHED] = cached
        w.req[r, c.NEXT] = -1
        if w.n[e, c.SWAP] < 0:
            w.n[e, c.SWAP] = r
        else:
            w.req[w.n[e, c.SWAP_END], c.NEXT] = r
        w.n[e, c.SWAP_END] = r
        return blocks * w.x[p, c.SWAP_SECONDS]
    w.req[r, c.NEED] = w.req[r, c.PROMPT] + w.req[r, c.DONE]
    w.req[r, c.CACHED] = 0
    queue_first(w, e, r)
    return 0.0


@compiled
def preempt_decoding(w: World, p: int, e: int) -> float:
    """Stop one decoding request and free its blocks; returns seconds of swapping."""
    last = w.n[e, c.DECODES] - 1
    at = last
    if w.n[p, c.LEAST_PROGRESS] == 1:
        for i in range(last, -1, -1):
            if w.req[w.list[w.n[e, c.DEC] + i], c.BASE] < w.req[w.list[w.n[e, c.DEC] + at], c.BASE]:
                at = i
    r = w.list[w.n[e, c.DEC] + at]
    for i in range(at, last):
        w.list[w.n[e, c.DEC] + i] = w.list[w.n[e, c.DEC] + i + 1]
    w.n[e, c.DECODES] = last
    stale = True
    for i in range(w.n[e, c.FRESH]):
        if stale and w.list[w.n[e, c.NEWCOMERS] + i] == r:
            stale = False
        if not stale and i + 1 < w.n[e, c.FRESH]:
            w.list[w.n[e, c.NEWCOMERS] + i] = w.list[w.n[e, c.NEWCOMERS] + i + 1]
    if stale:
        w.when[r, c.LAST_TOKEN] = w.x[e, c.LAST]
    else:
        w.n[e, c.FRESH] -= 1
    count_pages(w, p, e, r, -1)
    cached = length_now(w, e, r)
    w.n[e, c.CONTEXT] -= cached
    w.req[r, c.DONE] = w.req[r, c.BASE] + w.n[e, c.STEP]
    give_back(w, p, e, r, cached)
    return out_of_memory(w, p, e, r, cached)


@compiled
def preempt_part(w: World, p: int, e: int) -> float:
    """Stop the latest request in prefill and free its blocks."""
    w.n[e, c.PARTS] -= 1
    r = w.list[w.n[e, c.PART] + w.n[e, c.PARTS]]
    cached = w.req[r, c.CACHED]
    give_back(w, p, e, r, cached)
    w.req[r, c.NEED] = w.req[r, c.PROMPT] + w.req[r, c.DONE]
    w.req[r, c.CACHED] = 0
    count_preemption(w, e, r)
    queue_first(w, e, r)
    return 0.0
