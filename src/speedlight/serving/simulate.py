"""Requests meet a deployment: build the loop's arrays, run it, read what came of every request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .deployment import Deployment, Pool
from .loop import columns as c
from .requests import Requests
from .steps import StepTables

GAP_RATIO = 1.005  # of the histogram's bins: percentiles of gaps are within 0.25 %
SAMPLES = 2048


@dataclass(frozen=True)
class Run:
    """What came of a load.

    Attributes:
        requests, deployment: the question.
        arrival, admitted, first, finished: seconds of each request; of refused ones the last three are NaN.
        refused: requests that exceed what an engine can ever hold.
        preempted: how often each was.
        gap_edges, gap_counts: histogram of gaps between a request's tokens.
        timeline: columns seconds, running, waiting, blocks in use, active replicas, requests finished.
        reached: seconds at which the last request ended.
        steps: of the engines (all ranks of an engine together take one step).
        counters: preemptions, swaps, prompt tokens computed and found cached, adapters loaded, replicas started.
        replica_seconds: Σ over replicas of the time they were active.
        busy_seconds: Σ over replicas of the time they were stepping.
        most_blocks: most blocks in use on any rank; ``blocks_left``: in use at the end (0, or the loop lost some).
        token_times: seconds of every token, request by request, where they were kept.
    """

    requests: Requests
    deployment: Deployment
    arrival: np.ndarray
    admitted: np.ndarray
    first: np.ndarray
    finished: np.ndarray
    refused: np.ndarray
    preempted: np.ndarray
    gap_edges: np.ndarray
    gap_counts: np.ndarray
    timeline: np.ndarray
    reached: float
    steps: int
    counters: dict[str, int]
    replica_seconds: float
    busy_seconds: float
    most_blocks: int
    blocks_left: int
    token_times: np.ndarray


def simulate(
    requests: Requests,
    deployment: Deployment,
    *,
    seed: int = 0,
    until: float = math.inf,
    keep_tokens: bool = False,
    one_by_one: bool = False,
) -> Run:
    """Serve a load.

    Args:
        requests: what comes.
        deployment: what serves.
        seed: of the draws of drafted tokens; the load has draws of its own.
        until: no step starts after so many seconds; requests that are not done by then have no end.
        keep_tokens: also keep the time of every token.
        one_by_one: plan every step anew, the slow way; the answer is the same to the last bit.

    Returns:
        the run. The same arguments give the same run, compiled or not.

    Raises:
        BadInput: where a chain's links do not fit the engine's blocks.
    """
    from .loop.run import run

    world = prepared(requests, deployment, seed, keep_tokens, one_by_one)
    reached = float(run(world, until))
    return _read(requests, deployment, world, reached)


def prepared(requests: Requests, deployment: Deployment, seed: int, keep_tokens: bool, one_by_one: bool) -> c.World:
    """The loop's arrays for a question."""
    stages = deployment.pools
    split = len(stages) == 2
    lists, reals = _Heap(np.int64), _Heap(np.float64)
    n, x = _places(stages, reals)
    for i, pool in enumerate(stages):
        _pool(pool, requests, split and i == 0, n, x, c.POOLS + i, reals)
    _run(requests, deployment, one_by_one, n[c.RUN], x[c.RUN], lists, reals)
    req, when = _requests(requests, seed, any(n[c.POOLS : c.POOLS + 2, c.CACHING]), n[c.RUN], lists, reals)
    for i, pool in enumerate(stages):
        asked = requests.prompt + (1 if split and i == 0 else requests.output)
        req[pool.capacity.blocks_of(asked) > pool.lane_blocks, c.STATE] = c.REFUSED
    links = 1 + int(max(requests.chain, default=-1)) if lists.shared and requests.chain is not None else 0
    adapters = int(req[:, c.ADAPTER].max()) + 1
    for e in range(n[c.RUN, c.GROUPS_END], n[c.RUN, c.RANKS_END]):
        _rank(n[e], x[e], n[n[n[e, c.GROUP], c.POOL]], links, adapters, lists, reals)
    if keep_tokens:
        n[c.RUN, c.KEEP_TOKENS] = 1
        req[:, c.TOKENS] = reals.room(int(requests.output.sum()), -1.0) + np.cumsum(requests.output) - requests.output
    if deployment.scaling is not None:
        groups = np.arange(n[c.RUN, c.GROUPS], n[c.RUN, c.GROUPS_END])
        n[groups[n[groups, c.LEAD] - groups[0] >= deployment.scaling.least], c.ACTIVE] = 0
    return c.World(req, when, n, x, lists.array(), reals.array())


class _Heap:
    """An array in the making: pieces one behind the other, each known by where it starts."""

    def __init__(self, kind: type) -> None:
        self.kind, self.size, self.shared = kind, 0, False
        self.pieces: list[np.ndarray] = [np.zeros(0, kind)]

    def put(self, values: Any) -> int:
        start = self.size
        self.pieces.append(np.asarray(values, self.kind).ravel())
        self.size += len(self.pieces[-1])
        return start

    def room(self, size: int, value: float = 0) -> int:
        return self.put(np.full(size, value, self.kind))

    def array(self) -> np.ndarray:
        return np.concatenate(self.pieces)


def _places(stages: tuple[Pool, ...], reals: _Heap) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the run, two pools, groups, ranks, and of the tables of pipeline stages.

    Engines of a pool come one behind the other, lane by lane: the first lane of each, then the second of each …
    """
    groups = c.POOLS + 2 + sum(pool.replicas * pool.lanes for pool in stages)
    rows = groups + sum(pool.replicas * pool.lanes * pool.ranks for pool in stages)
    tables = sum(len(pool.stages) for pool in stages)
    n, x = np.zeros((rows + tables, c.PLACE_COLUMNS), np.int64), np.zeros((rows + tables, c.PLACE_REALS))
    n[c.RUN, [c.GROUPS, c.GROUPS_END, c.RANKS_END]] = c.POOLS + 2, groups, rows
    g, e, s = c.POOLS + 2, groups, rows
    for number, pool in enumerate(stages):
        n[c.POOLS + number, [c.STAGES, c.STAGE_ROW]] = len(pool.stages), s
        s += len(pool.stages)
        first, apart = g, pool.replicas * pool.ranks
        for lane in range(pool.lanes):
            for replica in range(pool.replicas):
                n[g, [c.POOL, c.FIRST_RANK, c.RANKS, c.ACTIVE]] = c.POOLS + number, e, pool.ranks, 1
                n[g, [c.LEAD, c.LANES, c.NEXT_LANE]] = first + replica, pool.lanes, pool.replicas
                n[g, c.STAGE_FREE] = reals.room(len(pool.stages)) if lane == 0 else 0
                n[e : e + pool.ranks, c.GROUP] = g
                ranks = np.arange(e, e + pool.ranks)
                shared = pool.lanes > 1 and pool.policy.shared_room
                n[ranks, c.ROOM] = ranks - lane * apart if shared else ranks
                n[ranks, c.SHARERS], n[ranks, c.APART] = pool.lanes if shared else 1, apart
                g, e = g + 1, e + pool.ranks
    return n, x


def _pool(
    pool: Pool, requests: Requests, prefill_only: bool, places: np.ndarray, seconds: np.ndarray, row: int, reals: _Heap
) -> None:  # fmt: skip
    policy, room, tables, speculation = pool.policy, pool.capacity, pool.tables, pool.speculation
    n, x = places[row], seconds[row]
    budget = policy.budget or room.token_budget
    if policy.mixed and budget < pool.lane_seqs * (1 + speculation.drafted):
        raise BadInput(
            f"a budget of {budget} tokens for {pool.lane_seqs} sequences of {1 + speculation.drafted} tokens a step",
            expected="a budget that holds every decoding sequence", hint="raise the budget or lower max sequences",
        )  # fmt: skip
    caching = policy.prefix_caching and requests.link_tokens > 0
    if caching and requests.link_tokens % room.block_size:
        raise BadInput(
            f"shared beginnings in links of {requests.link_tokens} tokens and blocks of {room.block_size}",
            expected="links of whole blocks",
        )
    link = requests.link_tokens if caching else room.block_size
    n[:24] = (
        policy.mixed, policy.chunked, budget, policy.max_prompts, int(policy.watermark * pool.lane_blocks),
        policy.preemption == "swap" and room.swap_blocks > 0, policy.victim == "least-progress", policy.overlap,
        policy.static, caching, prefill_only, pool.lane_blocks, room.block_size, pool.lane_seqs, room.full_groups,
        room.window_groups, -(-room.window // room.block_size) + 1, room.fixed_blocks,
        room.swap_blocks if policy.shared_room else room.swap_blocks // pool.lanes,
        speculation.drafted, int(speculation.acceptance * 2147483647), pool.adapter_slots,
        room.full_groups * (link // room.block_size), link,
    )  # fmt: skip
    x[:7] = (
        policy.reserve, policy.reserve_least, policy.reserve_decay, pool.swap_seconds, pool.adapter_seconds,
        tables.host.step, tables.host.sequence,
    )  # fmt: skip
    n[c.PIECES_FOLLOW] = policy.pieces_follow
    _tables(tables, n, reals)
    for number, stage in enumerate(pool.stages):
        _tables(stage, places[n[c.STAGE_ROW] + number], reals)


def _tables(tables: StepTables, n: np.ndarray, reals: _Heap) -> None:
    for column, table in (
        (c.TOKEN_TABLE, tables.tokens), (c.DECODE_TABLE, tables.decode), (c.PREFILL_TABLE, tables.prefill),
        (c.ADAPTER_TABLE, tables.adapters),
    ):  # fmt: skip
        n[column] = reals.put(table.x)
        reals.put(table.y)
        reals.put(table.seconds)
        n[column + 1 : column + 3] = table.seconds.shape


def _run(
    requests: Requests,
    deployment: Deployment,
    one_by_one: bool,
    n: np.ndarray,
    x: np.ndarray,
    lists: _Heap,
    reals: _Heap,
) -> None:
    scaling, link, pools = deployment.scaling, deployment.link, deployment.pools
    closed = requests.clients > 0
    many = n[c.GROUPS_END] - n[c.GROUPS] > 1
    n[[c.CLOSED, c.ROUTER, c.FIRST_FROM_DECODE]] = closed, deployment.router == "least-loaded", link.first_from_decode
    n[c.COUPLED] = many and (closed or len(pools) > 1 or requests.child is not None)
    n[c.ONE_BY_ONE], n[c.ARRIVALS] = one_by_one, np.isfinite(requests.arrival).sum()
    # what a client of a closed loop waits: its own pause, and the way to and from the scheduler's queue
    x[c.THINK] = requests.think + pools[0].tables.host.request + pools[-1].tables.host.stream
    x[[c.TRANSFER_LATENCY, c.TRANSFER_SECONDS]] = link.latency, link.seconds_per_token
    if scaling is not None:
        n[c.LEAST_GROUPS] = scaling.least
        x[[c.SCALE_UP, c.SCALE_DOWN, c.COLD_START]] = scaling.up, scaling.down, scaling.cold_start
    events = _events(requests, pools)
    n[c.EVENT], n[c.EVENT_TIME] = lists.room(3 * events), reals.room(events)
    bins = math.ceil(math.log(1e10) / math.log(GAP_RATIO)) + 2
    n[c.EDGES] = reals.put(np.concatenate([[0.0], 1e-6 * GAP_RATIO ** np.arange(bins - 1), [np.inf]]))
    n[c.GAPS], n[c.BINS] = lists.room(bins), bins
    n[c.SAMPLE], n[c.SAMPLES_MOST] = reals.room(SAMPLES * c.SAMPLE_COLUMNS), SAMPLES
    x[c.SAMPLE_EVERY] = 1e-3
    if closed:  # the clients' first requests as events: rising times are a heap already
        clients = min(requests.clients, len(requests))
        order = np.arange(clients)
        lists.pieces[-2][: 3 * clients] = np.stack([order, order * 0 + c.ARRIVES, order], axis=1).ravel()
        reals.pieces[-3][:clients] = requests.arrival[:clients]
        n[[c.EVENTS, c.SERIAL, c.NEXT_ARRIVAL, c.SENT]] = clients


def _requests(
    requests: Requests, seed: int, caching: bool, run: np.ndarray, lists: _Heap, reals: _Heap
) -> tuple[np.ndarray, np.ndarray]:
    count = len(requests)
    req = np.zeros((count, c.REQUEST_COLUMNS), np.int64)
    req[:, c.PROMPT], req[:, c.OUTPUT] = requests.prompt, requests.output
    req[:, [c.NEXT, c.RANK]] = -1
    req[:, c.DRAW] = np.random.default_rng(seed).integers(1, 2147483646, count)
    if requests.adapter is not None:
        req[:, c.ADAPTER] = requests.adapter
    if caching and requests.chain is not None and requests.chain_at is not None:
        start = lists.put(requests.chain)
        req[:, c.CHAIN], req[:, c.CHAIN_END] = start + requests.chain_at[:-1], start + requests.chain_at[1:]
        lists.shared = True
    if requests.child is not None and requests.child_at is not None:
        run[c.CHILDREN] = start = lists.put(requests.child)
        req[:, c.CHILD], req[:, c.CHILD_END] = start + requests.child_at[:-1], start + requests.child_at[1:]
        run[c.DELAYS] = reals.put(np.zeros(len(requests.child)) if requests.delay is None else requests.delay)
        np.add.at(req[:, c.PARENTS], requests.child, 1)
    when = np.full((count, c.REQUEST_TIMES), -1.0)
    when[:, c.ARRIVAL] = requests.arrival
    return req, when


def _rank(
    n: np.ndarray, x: np.ndarray, pool: np.ndarray, links: int, adapters: int, lists: _Heap, reals: _Heap
) -> None:
    n[[c.QUEUE, c.QUEUE_END, c.SWAP, c.SWAP_END, c.LRU_OLD, c.LRU_NEW]] = -1
    n[[c.NEXT_END, c.WINDOW_END]] = 1 << 60
    x[c.BIN_LOW] = np.inf  # no gap lies in this bin
    for column in (c.DEC, c.PART, c.NEWCOMERS, c.CHUNK):
        n[column] = lists.room(int(pool[c.MAX_SEQS]) + 1)
    n[c.RESIDUE] = lists.room(int(pool[c.BLOCK_SIZE]))
    for column in (c.HELD, c.OLDER, c.NEWER):
        n[column] = lists.room(links, -1)
    n[c.ADAPTER_HELD], n[c.ADAPTER_AT], n[c.ADAPTER_COUNT] = lists.room(adapters), reals.room(adapters, -1.0), adapters


def _events(requests: Requests, stages: tuple[Pool, ...]) -> int:
    """Events that may be pending at once: one a client, and any number of dependents and transfers."""
    many = len(stages) > 1 or requests.child is not None
    return (len(requests) if many else 0) + requests.clients + 8


def _read(requests: Requests, deployment: Deployment, w: c.World, reached: float) -> Run:
    def seconds(column: int) -> np.ndarray:
        values = w.when[:, column].copy()
        values[(values < 0) | ~np.isfinite(values)] = np.nan
        return values

    run, ranks = w.n[c.RUN], slice(w.n[c.RUN, c.GROUPS_END], w.n[c.RUN, c.RANKS_END])
    groups = slice(run[c.GROUPS], run[c.GROUPS_END])
    names = {
        "preemptions": c.PREEMPTIONS, "swaps": c.SWAPS, "prompt_tokens_computed": c.COMPUTED_TOKENS,
        "prompt_tokens_cached": c.HIT_TOKENS, "adapters_loaded": c.ADAPTER_LOADS, "replicas_started": c.STARTS,
        "rank_steps": c.RANK_STEPS,
    }  # fmt: skip
    bins, kept = int(run[c.BINS]), int(run[c.SAMPLES])
    timeline = w.real[run[c.SAMPLE] :][: kept * c.SAMPLE_COLUMNS].reshape(kept, c.SAMPLE_COLUMNS)
    tokens = slice(int(w.req[0, c.TOKENS]), None) if run[c.KEEP_TOKENS] else slice(0, 0)
    return Run(
        requests=requests, deployment=deployment, arrival=seconds(c.ARRIVAL), admitted=seconds(c.ADMITTED),
        first=seconds(c.FIRST), finished=seconds(c.FINISHED), refused=w.req[:, c.STATE] == c.REFUSED,
        preempted=w.req[:, c.PREEMPTED].copy(), gap_edges=w.real[run[c.EDGES] :][: bins + 1].copy(),
        gap_counts=w.list[run[c.GAPS] :][:bins].copy(), timeline=timeline.copy(), reached=reached,
        steps=int(run[c.STEPS]), counters={name: int(run[i]) for name, i in names.items()},
        replica_seconds=float(w.x[groups, c.ACTIVE_SECONDS].sum()),
        busy_seconds=float(w.x[groups, c.BUSY_SECONDS].sum()), most_blocks=int(w.n[ranks, c.MOST_USED].max()),
        blocks_left=int(w.n[ranks, c.USED].sum()), token_times=w.real[tokens],
    )  # fmt: skip
