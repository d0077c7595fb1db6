"""What a rank does in its next step: which prompts start or go on, and whether the decoding ones have room."""

from __future__ import annotations

from ..compiled import compiled
from . import columns as c
from .columns import World
from .prefix import hits, hold, take
from .requests import after, at_end, blocks_of, length_now, preempt_decoding, preempt_part, start_decoding, unqueue

UNIT = 2147483647  # random numbers are 1 … 2^31 − 2


@compiled
def reserved_share(w: World, p: int, e: int) -> float:
    """Share of the output still to come that admission sets aside: falls with every decode step since the last preemption."""
    return max(
        w.x[p, c.RESERVE] - w.x[p, c.RESERVE_DECAY] * (w.n[e, c.STEP] - w.n[e, c.RESET]), w.x[p, c.RESERVE_LEAST]
    )


@compiled
def anybody(w: World, e: int) -> bool:
    """Whether a request runs on a rank, in any of the batches that share its blocks."""
    m = w.n[e, c.ROOM]
    for k in range(w.n[m, c.SHARERS]):
        if w.n[m + k * w.n[m, c.APART], c.DECODES] + w.n[m + k * w.n[m, c.APART], c.PARTS] > 0:
            return True
    return False


@compiled
def in_use(w: World, e: int, a: int) -> bool:
    """Whether a running request uses an adapter, in any of those batches."""
    m = w.n[e, c.ROOM]
    users = 0
    for k in range(w.n[m, c.SHARERS]):
        users += w.list[w.n[m + k * w.n[m, c.APART], c.ADAPTER_HELD] + a]
    return users > 0


@compiled
def fits(w: World, p: int, e: int, r: int, now: int, links: int, idle: int) -> bool:
    """Whether a request may start that takes blocks for ``now`` tokens at once and holds so many cached links."""
    m = w.n[e, c.ROOM]
    own = links * w.n[p, c.LINK_BLOCKS]
    found = idle * w.n[p, c.LINK_BLOCKS]  # blocks of links that nobody held count as used from now on
    if w.x[p, c.RESERVE_LEAST] >= 1.0:
        whole = at_end(w, p, r)
        return w.n[m, c.COMMITTED] + whole - own + found <= w.n[p, c.BLOCKS]
    need = blocks_of(w, p, now) - own + found
    if not anybody(w, e):
        return w.n[m, c.USED] + need <= w.n[p, c.BLOCKS]
    share = 0.0 if w.n[p, c.PREFILL_ONLY] == 1 else reserved_share(w, p, e)
    if share > 0.0:
        later = share * (w.n[m, c.REMAINING] + w.req[r, c.OUTPUT] - w.req[r, c.DONE])
        need += int(later / w.n[p, c.BLOCK_SIZE]) * (w.n[p, c.FULL_GROUPS] + w.n[p, c.WINDOW_GROUPS])
    return w.n[m, c.USED] + need <= w.n[p, c.BLOCKS] - w.n[p, c.WATERMARK]


@compiled
def bring_adapter(w: World, p: int, e: int, a: int, time: float) -> float:
    """Seconds until an adapter is in memory; −1 where every slot is in use."""
    m = w.n[e, c.ROOM]
    if a == 0 or w.n[p, c.ADAPTER_SLOTS] == 0 or w.real[w.n[m, c.ADAPTER_AT] + a] >= 0.0:
        return 0.0
    if w.n[m, c.RESIDENT] >= w.n[p, c.ADAPTER_SLOTS]:
        oldest = -1
        for k in range(1, w.n[m, c.ADAPTER_COUNT]):
            if w.real[w.n[m, c.ADAPTER_AT] + k] >= 0.0 and not in_use(w, e, k):
                if oldest < 0 or w.real[w.n[m, c.ADAPTER_AT] + k] < w.real[w.n[m, c.ADAPTER_AT] + oldest]:
                    oldest = k
        if oldest < 0:
            return -1.0
        w.real[w.n[m, c.ADAPTER_AT] + oldest] = -1.0
        w.n[m, c.RESIDENT] -= 1
    w.real[w.n[m, c.ADAPTER_AT] + a] = time
    w.n[m, c.RESIDENT] += 1
    w.n[c.RUN, c.ADAPTER_LOADS] += 1
    return w.x[p, c.ADAPTER_SECONDS]


@compiled
def admit(w: World, p: int, e: int, r: int, time: float) -> None:
    """Book a request as running."""
    if w.when[r, c.ADMITTED] < 0.0:
        w.when[r, c.ADMITTED] = time
    w.n[w.n[e, c.ROOM], c.REMAINING] += w.req[r, c.OUTPUT] - w.req[r, c.DONE]
    a = w.req[r, c.ADAPTER]
    if a > 0:
        if w.list[w.n[e, c.ADAPTER_HELD] + a] == 0:
            w.n[e, c.ADAPTERS] += 1
        w.list[w.n[e, c.ADAPTER_HELD] + a] += 1
        w.real[w.n[w.n[e, c.ROOM], c.ADAPTER_AT] + a] = time


@compiled
def resume(w: World, p: int, e: int, time: float) -> float:
    """Bring back swapped requests, the earliest first, while there is room; returns seconds of copying."""
    seconds, m = 0.0, w.n[e, c.ROOM]
    while w.n[e, c.SWAP] >= 0 and w.n[e, c.DECODES] + w.n[e, c.PARTS] < w.n[p, c.MAX_SEQS]:
        r = w.n[e, c.SWAP]
        blocks = blocks_of(w, p, w.req[r, c.CACHED])
        room = w.n[p, c.BLOCKS] - (w.n[p, c.WATERMARK] if w.n[e, c.DECODES] > 0 else 0)
        if w.n[m, c.USED] + blocks_of(w, p, w.req[r, c.CACHED] + 1) > room:
            break
        w.n[e, c.SWAP] = w.req[r, c.NEXT]
        w.n[m, c.SWAP_USED] -= blocks
        take(w, p, m, blocks)
        w.n[m, c.COMMITTED] += at_end(w, p, r)
        seconds += blocks * w.x[p, c.SWAP_SECONDS]
        admit(w, p, e, r, time)
        start_decoding(w, p, e, r)
    return seconds


@compiled
def welcome(w: World, p: int, e: int, seen: float, time: float) -> float:
    """Requests whose keys and values came over the link start decoding at once, while there is room."""
    seconds, m = 0.0, w.n[e, c.ROOM]
    while w.n[e, c.QUEUE] >= 0 and w.n[e, c.DECODES] + w.n[e, c.PARTS] < w.n[p, c.MAX_SEQS]:
        r = w.n[e, c.QUEUE]
        if w.req[r, c.NEED] != 0 or w.when[r, c.QUEUED] > seen:
            break
        cached = w.req[r, c.PROMPT] + max(w.req[r, c.DONE] - 1, -1)
        if not fits(w, p, e, r, cached + 1, 0, 0):
            break
        loading = bring_adapter(w, p, e, w.req[r, c.ADAPTER], time)
        if loading < 0.0:
            break
        seconds += loading
        unqueue(w, e)
        take(w, p, m, blocks_of(w, p, cached))
        w.n[m, c.COMMITTED] += at_end(w, p, r)
        admit(w, p, e, r, time)
        start_decoding(w, p, e, r)
    return seconds


@compiled
def plan_prompts(w: World, p: int, e: int, left: int, seen: float, time: float, admitting: bool) -> float:
    """Choose the prompt pieces of the next step: those under way first, then the queue in order.

    Returns seconds of loading adapters. Sizes go to ``chunk`` beside ``part``; totals to PREFILL_TOKENS, PAIRS, PIECES.
    """
    seconds, m = 0.0, w.n[e, c.ROOM]
    tokens, pieces, pairs = 0, 0, 0.0
    i = 0
    while i < w.n[e, c.PARTS]:
        r = w.list[w.n[e, c.PART] + i]
        cached = w.req[r, c.CACHED]
        size = min(w.req[r, c.NEED] - cached, left)
        grows = blocks_of(w, p, cached + size) - blocks_of(w, p, cached)
        while w.n[m, c.USED] + grows > w.n[p, c.BLOCKS] and w.n[e, c.PARTS] > i + 1:
            seconds += preempt_part(w, p, e)
        if w.n[m, c.USED] + grows > w.n[p, c.BLOCKS]:
            size = 0
        elif size > 0:
            take(w, p, m, grows)
            pieces += 1
        w.list[w.n[e, c.CHUNK] + i] = size
        left -= size
        tokens += size
        pairs += size * (cached + 0.5 * (size + 1))
        i += 1
    begun = 0
    running = w.n[e, c.DECODES] + w.n[e, c.PARTS]
    if w.n[e, c.SWAP] >= 0 or (w.n[p, c.STATIC] == 1 and running > 0):
        admitting = False
    while admitting and left > 0 and w.n[e, c.QUEUE] >= 0 and w.n[e, c.DECODES] + w.n[e, c.PARTS] < w.n[p, c.MAX_SEQS]:
        r = w.n[e, c.QUEUE]
        if (
            w.when[r, c.QUEUED] > seen
            or w.req[r, c.NEED] == 0
            or (w.n[p, c.MAX_PROMPTS] > 0 and begun == w.n[p, c.MAX_PROMPTS])
        ):
            break
        links, idle = hits(w, p, m, r)
        hit = links * w.n[p, c.LINK_TOKENS]
        size = w.req[r, c.NEED] - hit
        if size > left:
            if w.n[p, c.CHUNKED] == 1:
                size = left
            elif tokens > 0:  # a prompt beyond the budget runs alone
                break
        at_once = hit + size if w.n[p, c.CHUNKED] == 1 and w.x[p, c.RESERVE_LEAST] <= 0.0 else w.req[r, c.NEED]
        if not fits(w, p, e, r, at_once, links, idle):
            break
        loading = bring_adapter(w, p, e, w.req[r, c.ADAPTER], time)
        if loading < 0.0:
            break
        seconds += loading
        unqueue(w, e)
        own = links * w.n[p, c.LINK_BLOCKS]
        w.n[m, c.COMMITTED] += at_end(w, p, r) - own
        hold(w, p, m, r, links)
        take(w, p, m, blocks_of(w, p, hit + size) - own)
        w.n[c.RUN, c.HIT_TOKENS] += hit
        w.req[r, c.CACHED] = hit
        w.req[r, c.STATE] = c.PREFILLING
        admit(w, p, e, r, time)
        n = w.n[e, c.PARTS]
        w.list[w.n[e, c.PART] + n] = r
        w.list[w.n[e, c.CHUNK] + n] = size
        w.n[e, c.PARTS] = n + 1
        left -= size
        tokens += size
        pairs += size * (hit + 0.5 * (size + 1))
        pieces += 1
        begun += 1
    w.n[e, c.PREFILL_TOKENS] = tokens
    w.n[e, c.PIECES] = pieces
    w.x[e, c.PAIRS] = pairs
    return seconds


@compiled
def plan_drafts(w: World, p: int, e: int) -> int:
    """Draw how many drafted tokens each decoding request will keep; returns the blocks that the step needs.

    Each drafted token is kept with the same probability while those before it were (Leviathan et al. 2023, eq. 1). What is
    drawn is kept in CACHED until the step is taken; the numbers are each request's own (Lehmer's generator, so that they fit
    in whole numbers of 64 bits), so that order does not matter.
    """
    need = 0
    for i in range(w.n[e, c.DECODES]):
        r = w.list[w.n[e, c.DEC] + i]
        state, kept = w.req[r, c.DRAW], 0
        while kept < w.n[p, c.DRAFTED]:
            state = state * 48271 % UNIT
            if state > w.n[p, c.ACCEPTED]:
                break
            kept += 1
        kept = min(kept, w.req[r, c.END] - w.n[e, c.STEP] - 1)
        w.req[r, c.CACHED] = kept
        cached = length_now(w, e, r)
        need += blocks_of(w, p, cached + 1 + kept) - blocks_of(w, p, cached)
    return need


@compiled
def settle_drafts(w: World, p: int, e: int) -> None:
    """Book the drafted tokens that were kept; the step itself counts one token each."""
    for i in range(w.n[e, c.DECODES]):
        r = w.list[w.n[e, c.DEC] + i]
        kept = w.req[r, c.CACHED]
        for _ in range(min(kept + 1, w.n[p, c.DRAFTED])):
            w.req[r, c.DRAW] = w.req[r, c.DRAW] * 48271 % UNIT
        w.req[r, c.BASE] += kept
        w.req[r, c.END] -= kept
        w.n[e, c.CONTEXT] += kept
        w.n[w.n[e, c.ROOM], c.REMAINING] -= kept
        w.n[e, c.NEXT_END] = min(w.n[e, c.NEXT_END], w.req[r, c.END])


@compiled
def growth(w: World, p: int, e: int) -> int:
    """Blocks that the next decode step takes."""
    if w.n[e, c.DECODES] == 0:
        return 0
    if w.n[p, c.DRAFTED] > 0:
        return plan_drafts(w, p, e)
    return w.list[w.n[e, c.RESIDUE] + w.n[e, c.STEP] % w.n[p, c.BLOCK_SIZE]]


@compiled
def make_room(w: World, p: int, e: int) -> tuple[bool, float]:
    """Preempt until the next decode step has its blocks; returns whether any was, and seconds of swapping."""
    seconds, preempted = 0.0, False
    while w.n[w.n[e, c.ROOM], c.USED] + growth(w, p, e) > w.n[p, c.BLOCKS]:
        preempted = True
        if w.n[e, c.PARTS] > 0:
            seconds += preempt_part(w, p, e)
        else:
            seconds += preempt_decoding(w, p, e)
    return preempted, seconds


@compiled
def refuse(w: World, e: int, time: float) -> None:
    """The queue's first request can never start here: its client hears so."""
    r = unqueue(w, e)
    w.req[r, c.STATE] = c.REFUSED
    w.n[c.RUN, c.ENDED_COUNT] += 1
    w.n[c.RUN, c.IN_FLIGHT] -= 1
    after(w, r, time)
