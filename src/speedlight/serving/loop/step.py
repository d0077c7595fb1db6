"""One step of a group of ranks, or a run of decode steps of unchanged composition.

A run takes its steps one after the other with the same arithmetic as single ones, so token times are equal to the last bit; what it
saves is planning. Ranks of a group start and end a step together: the fullest rank sets the time (attention data-parallelism
with synchronised expert layers).
"""

from __future__ import annotations

from ..compiled import compiled
from . import columns as c
from .columns import World
from .heap import push
from .plan import growth, make_room, plan_prompts, reserved_share, resume, settle_drafts, welcome
from .prefix import publish, take
from .requests import NEVER, end_decodes, finish, give_back, pass_windows, start_decoding
from .times import count_gap, decode_line, look_up


@compiled
def clock_on(w: World, g: int, began: float, last_start: float, end: float) -> None:
    w.x[g, c.BUSY_SECONDS] += end - began
    w.x[g, c.SEEN] = last_start
    w.x[g, c.NOW] = end


@compiled
def token_seconds(w: World, p: int, tokens: int, rows: int, adapters: int) -> float:
    seconds = look_up(w, p, c.TOKEN_TABLE, float(tokens), float(rows))
    if adapters > 0:
        seconds += look_up(w, p, c.ADAPTER_TABLE, float(adapters), float(tokens))
    return seconds


@compiled
def with_host(w: World, p: int, device: float, sequences: int) -> float:
    host = w.x[p, c.HOST_STEP] + w.x[p, c.HOST_SEQUENCE] * sequences
    return max(device, host) if w.n[p, c.OVERLAP] == 1 else device + host


@compiled
def advance(w: World, e: int) -> None:
    n = w.n[e, c.DECODES]
    w.n[e, c.STEP] += 1
    w.n[e, c.CONTEXT] += n
    w.n[w.n[e, c.ROOM], c.REMAINING] -= n


@compiled
def note_tokens(w: World, e: int, end: float) -> None:
    """A decode step ends: gaps since each sequence's last token, and token times where they are kept.

    Called before the step is counted. Sequences that decode for the first time since they joined have a last token of their own.
    """
    fresh, old = w.n[e, c.FRESH], w.n[e, c.DECODES] - w.n[e, c.FRESH]
    if old > 0:
        count_gap(w, e, end - w.x[e, c.LAST], old)
    for i in range(fresh):
        r = w.list[w.n[e, c.NEWCOMERS] + i]
        if w.when[r, c.FIRST] < 0.0:
            w.when[r, c.FIRST] = end
        else:
            count_gap(w, e, end - w.when[r, c.LAST_TOKEN], 1)
    w.n[e, c.FRESH] = 0
    w.x[e, c.LAST] = end
    if w.n[c.RUN, c.KEEP_TOKENS] == 1:
        for i in range(w.n[e, c.DECODES]):
            r = w.list[w.n[e, c.DEC] + i]
            k = w.req[r, c.TOKENS] + w.req[r, c.BASE] + w.n[e, c.STEP]
            while k >= w.req[r, c.TOKENS] and w.real[k] < 0.0:  # drafted tokens come with the step's own
                w.real[k] = end
                k -= 1


@compiled
def hand_over(w: World, e: int, r: int, end: float) -> None:
    """Send its keys and values over the rank's link, behind what is under way; its blocks are free when they are there."""
    w.req[r, c.STATE] = c.TRANSFERRING
    m = w.n[e, c.ROOM]
    begin = max(w.x[m, c.LINK_FREE], end)
    w.x[m, c.LINK_FREE] = begin + w.req[r, c.CACHED] * w.x[c.RUN, c.TRANSFER_SECONDS]
    push(w, w.x[m, c.LINK_FREE] + w.x[c.RUN, c.TRANSFER_LATENCY], c.ARRIVES_AT_DECODE, r)


@compiled
def end_pieces(w: World, p: int, e: int, end: float) -> None:
    """Prompt pieces are computed; prompts that are complete give a token and decode, hand over, or end."""
    kept = 0
    for i in range(w.n[e, c.PARTS]):
        r, size = w.list[w.n[e, c.PART] + i], w.list[w.n[e, c.CHUNK] + i]
        w.n[c.RUN, c.COMPUTED_TOKENS] += size
        w.req[r, c.CACHED] += size
        publish(w, p, w.n[e, c.ROOM], r)
        if w.req[r, c.CACHED] < w.req[r, c.NEED]:
            w.list[w.n[e, c.PART] + kept] = r
            w.list[w.n[e, c.CHUNK] + kept] = 0
            kept += 1
            continue
        if w.n[p, c.PREFILL_ONLY] == 1 and w.n[c.RUN, c.FIRST_FROM_DECODE] == 1:
            hand_over(w, e, r, end)
            continue
        if w.req[r, c.DONE] == 0:
            w.when[r, c.FIRST] = end
        else:
            count_gap(w, e, end - w.when[r, c.LAST_TOKEN], 1)
        if w.n[c.RUN, c.KEEP_TOKENS] == 1:
            w.real[w.req[r, c.TOKENS] + w.req[r, c.DONE]] = end
        w.when[r, c.LAST_TOKEN] = end
        w.req[r, c.DONE] += 1
        w.n[w.n[e, c.ROOM], c.REMAINING] -= 1
        if w.req[r, c.DONE] == w.req[r, c.OUTPUT]:
            give_back(w, p, e, r, w.req[r, c.NEED])
            finish(w, r, end)
        elif w.n[p, c.PREFILL_ONLY] == 1:
            hand_over(w, e, r, end)
        else:
            start_decoding(w, p, e, r)
    w.n[e, c.PARTS] = kept


@compiled
def widest(w: World, g: int, drafted: int, decodes: bool) -> tuple[int, int, int, int]:
    """(tokens, rows of logits, sequences, adapters) of a group's step as planned, each that of the rank with most.

    A drafted token is verified by its logits, so that it has a row of its own; the host sees to sequences.
    """
    first, ranks = w.n[g, c.FIRST_RANK], w.n[g, c.RANKS]
    tokens, rows, sequences, adapters = 0, 0, 0, 0
    for e in range(first, first + ranks):
        n = w.n[e, c.DECODES] if decodes else 0
        new = w.n[e, c.PREFILL_TOKENS]
        tokens = max(tokens, n * (1 + drafted) + new)
        rows = max(rows, n * (1 + drafted) + w.n[e, c.PIECES])
        sequences = max(sequences, n + w.n[e, c.PIECES])
        adapters = max(adapters, w.n[e, c.ADAPTERS])
    return tokens, rows, sequences, adapters


@compiled
def attention_seconds(w: World, tables: int, g: int, decodes: bool) -> tuple[float, float]:
    """Seconds of attention of a group's step as planned, of decoding sequences and of prompts, by the tables of a row."""
    first, ranks = w.n[g, c.FIRST_RANK], w.n[g, c.RANKS]
    decode, prefill = 0.0, 0.0
    for e in range(first, first + ranks):
        n = w.n[e, c.DECODES] if decodes else 0
        new = w.n[e, c.PREFILL_TOKENS]
        if n > 0:
            start, slope, _ = decode_line(w, tables, n, w.n[e, c.CONTEXT])
            decode = max(decode, start + slope * w.n[e, c.CONTEXT])
        if new > 0:
            prefill = max(prefill, look_up(w, tables, c.PREFILL_TABLE, float(new), w.x[e, c.PAIRS] / new))
    return decode, prefill


@compiled
def book(w: World, p: int, g: int, decodes: bool, end: float) -> None:
    """What a step did is there: tokens of the decoding requests where ``decodes``, prompt pieces."""
    first, ranks = w.n[g, c.FIRST_RANK], w.n[g, c.RANKS]
    for e in range(first, first + ranks):
        n = w.n[e, c.DECODES] if decodes else 0
        w.n[c.RUN, c.RANK_STEPS] += 1 if n + w.n[e, c.PREFILL_TOKENS] > 0 else 0
        if n > 0:
            if w.n[p, c.DRAFTED] > 0:
                settle_drafts(w, p, e)
            note_tokens(w, e, end)
            advance(w, e)
            if w.n[e, c.STEP] == w.n[e, c.WINDOW_END]:
                pass_windows(w, p, e)
            if w.n[e, c.STEP] >= w.n[e, c.NEXT_END]:
                end_decodes(w, p, e, end)
        if w.n[e, c.PIECES] > 0:
            end_pieces(w, p, e, end)
    w.n[c.RUN, c.STEPS] += 1


@compiled
def take_step(w: World, p: int, g: int, now: float, decodes: bool, extra: float) -> None:
    """A step as planned: prompt pieces, and the decoding requests where ``decodes``."""
    tokens, rows, sequences, adapters = widest(w, g, w.n[p, c.DRAFTED], decodes)
    decode, prefill = attention_seconds(w, p, g, decodes)
    device = token_seconds(w, p, tokens, rows, adapters) + decode + prefill
    end = now + (with_host(w, p, device, sequences) + extra)
    book(w, p, g, decodes, end)
    clock_on(w, g, now, now, end)


@compiled
def run_length(w: World, p: int, g: int) -> int:
    """Steps that a decode run may take before its ranks must be planned again (arrivals and full memory end it sooner)."""
    if w.n[c.RUN, c.ONE_BY_ONE] == 1:
        return 1
    steps = NEVER
    for e in range(w.n[g, c.FIRST_RANK], w.n[g, c.FIRST_RANK] + w.n[g, c.RANKS]):
        if w.n[e, c.DECODES] > 0:
            steps = min(steps, w.n[e, c.NEXT_END] - w.n[e, c.STEP], w.n[e, c.WINDOW_END] - w.n[e, c.STEP])
        if w.n[e, c.PARTS] > 0 or w.n[e, c.SWAP] >= 0:
            return 1
        if w.n[e, c.QUEUE] >= 0:
            if w.n[p, c.OVERLAP] == 1 and w.when[w.n[e, c.QUEUE], c.QUEUED] > w.x[g, c.SEEN]:
                return 1  # not seen yet
            if w.x[p, c.RESERVE_LEAST] < 1.0 and reserved_share(w, p, e) > w.x[p, c.RESERVE_LEAST]:
                return 1  # may be admitted as the share falls
    return max(steps, 1)


@compiled
def decode_run(w: World, p: int, g: int, began: float, horizon: float, most: int) -> None:
    """Up to ``most`` decode steps while nobody joins or leaves: until blocks run out or ``horizon`` has come."""
    first, last = w.n[g, c.FIRST_RANK], w.n[g, c.FIRST_RANK] + w.n[g, c.RANKS]
    now, start_of_last = began, began
    rows, adapters, active = 0, 0, 0
    for e in range(first, last):
        rows = max(rows, w.n[e, c.DECODES])
        adapters = max(adapters, w.n[e, c.ADAPTERS])
        active += 1 if w.n[e, c.DECODES] > 0 else 0
        w.x[e, c.LINE_END] = -1.0
    base = token_seconds(w, p, rows, rows, adapters)
    taken = 0
    while True:
        decode, room = 0.0, True
        for e in range(first, last):
            n = w.n[e, c.DECODES]
            if n == 0:
                continue
            context = w.n[e, c.CONTEXT]
            if not context < w.x[e, c.LINE_END]:
                w.x[e, c.LINE_START], w.x[e, c.LINE_SLOPE], w.x[e, c.LINE_END] = decode_line(w, p, n, context)
            decode = max(decode, w.x[e, c.LINE_START] + w.x[e, c.LINE_SLOPE] * context)
        start_of_last = now
        now = now + with_host(w, p, base + decode, rows)
        taken += 1
        for e in range(first, last):
            n = w.n[e, c.DECODES]
            if n == 0:
                continue
            if w.n[e, c.FRESH] > 0 or w.n[c.RUN, c.KEEP_TOKENS] == 1:
                note_tokens(w, e, now)
            else:
                count_gap(w, e, now - w.x[e, c.LAST], n)
                w.x[e, c.LAST] = now
            advance(w, e)
            room = (
                room
                and w.n[w.n[e, c.ROOM], c.USED] + w.list[w.n[e, c.RESIDUE] + w.n[e, c.STEP] % w.n[p, c.BLOCK_SIZE]]
                <= w.n[p, c.BLOCKS]
            )
        if taken >= most or now >= horizon or not room:
            break
        for e in range(first, last):
            if w.n[e, c.DECODES] > 0:
                need = w.list[w.n[e, c.RESIDUE] + w.n[e, c.STEP] % w.n[p, c.BLOCK_SIZE]]
                if need > 0:
                    take(w, p, w.n[e, c.ROOM], need)
    for e in range(first, last):
        if w.n[e, c.DECODES] > 0:
            if w.n[e, c.STEP] == w.n[e, c.WINDOW_END]:
                pass_windows(w, p, e)
            if w.n[e, c.STEP] >= w.n[e, c.NEXT_END]:
                end_decodes(w, p, e, now)
    w.n[c.RUN, c.STEPS] += taken
    w.n[c.RUN, c.RANK_STEPS] += taken * active
    clock_on(w, g, began, start_of_last, now)


@compiled
def plan_step(w: World, p: int, g: int) -> tuple[float, bool, bool, bool]:
    """What a group's next step holds: (seconds of copies before it, prompts in it, decoding ones, whether any was preempted)."""
    first, ranks = w.n[g, c.FIRST_RANK], w.n[g, c.RANKS]
    now = w.x[g, c.NOW]
    seen = w.x[g, c.SEEN] if w.n[p, c.OVERLAP] == 1 else now
    extra, prompts, decodes, again = 0.0, False, False, False
    for e in range(first, first + ranks):
        w.n[e, c.PREFILL_TOKENS] = 0
        w.n[e, c.PIECES] = 0
        w.x[e, c.PAIRS] = 0.0
        if w.n[e, c.SWAP] >= 0:
            extra += resume(w, p, e, now)
        if w.n[e, c.QUEUE] >= 0 and w.req[w.n[e, c.QUEUE], c.NEED] == 0:
            extra += welcome(w, p, e, seen, now)
    if w.n[p, c.MIXED] == 0:
        for e in range(first, first + ranks):
            if w.n[e, c.PARTS] > 0 or w.n[e, c.QUEUE] >= 0:
                extra += plan_prompts(w, p, e, w.n[p, c.BUDGET], seen, now, True)
                prompts = prompts or w.n[e, c.PREFILL_TOKENS] > 0
    if w.n[p, c.MIXED] == 1 or not prompts:
        for e in range(first, first + ranks):
            admitting = w.n[p, c.MIXED] == 1
            if w.n[e, c.DECODES] > 0:
                preempted, seconds = make_room(w, p, e)
                take(w, p, w.n[e, c.ROOM], growth(w, p, e))
                extra += seconds
                admitting = admitting and not preempted
                again = again or preempted
            if w.n[p, c.MIXED] == 1 and (w.n[e, c.PARTS] > 0 or w.n[e, c.QUEUE] >= 0):
                left = w.n[p, c.BUDGET] - w.n[e, c.DECODES] * (1 + w.n[p, c.DRAFTED])
                extra += plan_prompts(w, p, e, max(left, 1), seen, now, admitting)
                prompts = prompts or w.n[e, c.PREFILL_TOKENS] > 0
            decodes = decodes or w.n[e, c.DECODES] > 0
    return extra, prompts, decodes, again


@compiled
def step(w: World, p: int, g: int, horizon: float) -> bool:
    """Take the next step of a group, or a run of decode steps up to ``horizon``; False when it has nothing to do."""
    extra, prompts, decodes, again = plan_step(w, p, g)
    now = w.x[g, c.NOW]
    if not prompts and not decodes:
        return False
    if prompts or w.n[p, c.DRAFTED] > 0 or extra > 0.0:
        take_step(w, p, g, now, decodes, extra)
    else:
        decode_run(w, p, g, now, horizon, 1 if again else run_length(w, p, g))
    return True
