"""The loop's records: which column of which array means what.

Six arrays hold everything, since numba's time to compile grows with the number of arrays that functions hand to each other (33
of them took two minutes). Requests are rows of ``req`` and ``when``. Places (the run itself in row 0, pools, groups, ranks)
are rows of ``n`` and ``x`` and known by their row. What has no fixed length lies in ``list`` and ``real``, found by an offset in
a column.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class World(NamedTuple):
    """Every array that a run reads and writes: whole numbers and real ones of requests, of places, and of lists."""

    req: np.ndarray
    when: np.ndarray
    n: np.ndarray
    x: np.ndarray
    list: np.ndarray
    real: np.ndarray

    @staticmethod
    def kinds() -> dict[str, tuple[str, int]]:
        """Number and axes of each, for the compiler."""
        whole, real = "int64", "float64"
        return {
            "req": (whole, 2),
            "when": (real, 2),
            "n": (whole, 2),
            "x": (real, 2),
            "list": (whole, 1),
            "real": (real, 1),
        }


# Requests, whole numbers. A decoding request has generated BASE + (its rank's STEP) tokens: nothing is written per token.
PROMPT, OUTPUT = 0, 1  # tokens that come, tokens that are asked for
DONE = 2  # tokens generated, up to date while it does not decode
CACHED, NEED = 3, 4  # prompt tokens computed so far, and to compute (after a recompute: with those generated)
BASE, END = 5, 6  # see above; the STEP at which the last token is there
SHARED = 7  # leading links of its chain that it holds in the prefix cache
STATE = 8
NEXT = 9  # the request behind it in its queue
RANK = 10
ADAPTER = 11  # 0 for none
PREEMPTED = 12  # times
DRAW = 13  # state of its own random numbers
CHAIN, CHAIN_END = 14, 15  # its links in ``list``
CHILD, CHILD_END = 16, 17  # requests that wait for it in ``list``, each with a delay at the same distance in ``real``
PARENTS = 18  # requests that it waits for
TOKENS = 19  # where the times of its tokens start in ``real``
REQUEST_COLUMNS = 20

# Requests, seconds.
ARRIVAL, QUEUED, ADMITTED, FIRST, FINISHED, LAST_TOKEN = range(6)
REQUEST_TIMES = 6

# States of a request.
UNSENT, WAITING, PREFILLING, DECODING, SWAPPED, TRANSFERRING, ENDED, REFUSED = range(8)

# The run (row RUN), whole numbers: what holds for all of it, and counters.
RUN = 0
CLOSED = 0  # a finished request sends the next one
ROUTER = 1  # 0 round robin, 1 least loaded
FIRST_FROM_DECODE = 2
COUPLED = 3  # groups influence each other other than by what arrives
ONE_BY_ONE = 4  # steps of a run are taken one at a time
LEAST_GROUPS = 5
KEEP_TOKENS = 6
GROUPS, GROUPS_END, RANKS_END = 7, 8, 9  # rows of groups, and of ranks behind them
NEXT_ARRIVAL, EVENTS, SERIAL, STEPS, PREEMPTIONS, HIT_TOKENS, COMPUTED_TOKENS, SAMPLES, ENDED_COUNT = range(10, 19)
NEXT_RANK = 19  # and 20: one a pool
IN_FLIGHT, SWAPS, ADAPTER_LOADS, RANK_STEPS, STARTS = 21, 22, 23, 24, 25
EVENT, EVENT_TIME = 26, 27  # the heap: three whole numbers an event in ``list``, its time in ``real``
EDGES, GAPS, BINS = 28, 29, 30  # histogram of gaps between tokens: edges in ``real``, counts in ``list``
SAMPLE, SAMPLES_MOST = 31, 32  # the timeline in ``real``
DELAYS = 33  # of the first child in ``real``
CHILDREN = 34  # and in ``list``
ARRIVALS = 35  # requests that come at a time of their own; the others wait for somebody
SENT = 36  # requests of clients that were sent; NEXT_ARRIVAL counts those they think of, too

# The run, seconds.
THINK, TRANSFER_LATENCY, TRANSFER_SECONDS, SCALE_UP, SCALE_DOWN, COLD_START, NEXT_SAMPLE, SAMPLE_EVERY = range(8)

# Pools (rows POOLS and POOLS + 1), whole numbers: rules of the policy, capacity, where the tables are.
POOLS = 1
(
    MIXED, CHUNKED, BUDGET, MAX_PROMPTS, WATERMARK, SWAPPING, LEAST_PROGRESS, OVERLAP, STATIC, CACHING, PREFILL_ONLY, BLOCKS,
    BLOCK_SIZE, MAX_SEQS, FULL_GROUPS, WINDOW_GROUPS, WINDOW_PAGES, FIXED_BLOCKS, SWAP_BLOCKS, DRAFTED, ACCEPTED,
    ADAPTER_SLOTS, LINK_BLOCKS, LINK_TOKENS,
) = range(24)  # fmt: skip
TOKEN_TABLE, DECODE_TABLE, PREFILL_TABLE, ADAPTER_TABLE = 24, 27, 30, 33  # start in ``real``, points of x, points of y
STAGES, STAGE_ROW = 36, 37  # pipeline stages (0: the engine is one), and the row of the first, which has tables alone
PIECES_FOLLOW = 38  # a prompt's next piece enters when the one before it has left the first stage

# Pools, real numbers.
RESERVE, RESERVE_LEAST, RESERVE_DECAY, SWAP_SECONDS, ADAPTER_SECONDS, HOST_STEP, HOST_SEQUENCE = range(7)

# Groups (ranks that step together), whole numbers.
POOL, FIRST_RANK, RANKS, BUSY, ACTIVE = range(5)
LEAD, LANES, NEXT_LANE = (
    5,
    6,
    7,
)  # an engine of stages has a group a batch in flight: the first, how many, rows between them
LAUNCHED, WITH_DECODES = 8, 9  # its batch is under way until NOW; decoding requests are in it
STAGE_FREE = 10  # of the first: when each stage is free, in ``real``

# Groups, seconds.
NOW, SEEN, READY_AT, ACTIVE_SINCE, ACTIVE_SECONDS, BUSY_SECONDS = range(6)
HOST_FREE = 6  # of the first of an engine's: when its host is

# Ranks (an engine, or one of its attention ranks), whole numbers.
GROUP = 0
STEP = 1  # decode steps so far
DECODES, PARTS, FRESH = 2, 3, 4  # decoding, in prefill, decoding but without a decode step yet
CONTEXT = 5  # Σ cached tokens of the decoding ones
USED, IDLE_BLOCKS = 6, 7  # blocks held by requests; blocks of the prefix cache that nobody holds
COMMITTED = 8  # USED as it will be when every running request is at its last token
NEXT_END = 9  # least END of the decoding ones (or less)
QUEUE, QUEUE_END, QUEUED_COUNT = 10, 11, 12
SWAP, SWAP_END, SWAP_USED = 13, 14, 15
REMAINING = 16  # Σ tokens that running requests have yet to generate
RESET = 17  # STEP of the last preemption
PREFILL_TOKENS, PIECES = 18, 19  # of the step being planned
ADAPTERS, RESIDENT = 20, 21  # distinct adapters among the running; adapters in memory
LRU_OLD, LRU_NEW = 22, 23  # ends of the list of links that nobody holds
MOST_USED = 24
WINDOW_END = 25  # least STEP at which a sequence outgrows the window
BIN = 26  # of the last gap between tokens
DEC, PART, NEWCOMERS, CHUNK = 27, 28, 29, 30  # requests decoding, in prefill, fresh; sizes of the prompt pieces
RESIDUE = 31  # decoding requests that start a page at a step, by the step's remainder
HELD, OLDER, NEWER = (
    32,
    33,
    34,
)  # per link: requests that hold it (−1: not in the cache), and its neighbours in the LRU list
ADAPTER_HELD, ADAPTER_AT, ADAPTER_COUNT = (
    35,
    36,
    37,
)  # per adapter: running requests that use it; last use (−1: not in memory)

ROOM = 38  # the row that keeps account of its blocks: its own, or the first one's where batches in flight share them
SHARERS, APART = 39, 40  # of that row: how many share it, and the rows between them

# Ranks, real numbers.
LAST, PAIRS, BIN_LOW, BIN_HIGH, LINK_FREE, LINE_START, LINE_SLOPE, LINE_END = range(8)

PLACE_COLUMNS, PLACE_REALS = 41, 8

# Kinds of event.
ARRIVES, ARRIVES_AT_DECODE = 0, 1

# Columns of a sample of the timeline.
SAMPLE_COLUMNS = 6  # time, running, waiting, blocks in use, active groups, requests finished
