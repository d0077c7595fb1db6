"""Rows' mean latencies as sums with known weights: seconds by sort of kernel, and counts of what costs the host.

A mean latency of a closed loop is a sum of step times (:mod:`speedlight.serving.composition`), and a step time a sum of
parts, so a row's TTFT and TPOT are linear in the parts: what is fitted is how much each part is bent, never the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...engine.questions.resolve import Resolved, resolve
from ...engine.serving.engine_memory import LEAST, REPORTED, TUNED, divided
from ...engine.serving.part_grid import BY_TOKENS, CONTEXTS, LENGTHS, PartGrid, grid, line
from ...engine.serving.step_parts import SORTS
from ...placement.serving import Layout, fits
from ...scenario.scenario import ModelRef, Parallel, Program, Scenario
from ...serving.composition import ROUNDS, Composition, Loop, compose
from ...serving.policy import policy
from ...workload.workload import Workload
from .rows import STACKS, Deployment

HOST = ("steps", "mixed", "launches", "sequences", "clients")
"""Per step; per step with prompts; per kernel of such a step (not captured in a graph); per sequence of a step; per client a request shares the engine with."""
COLUMNS = (*SORTS, *(f"{sort}+" for sort in BY_TOKENS), *HOST)
"""Sorts of steps that only decode, then (``+``) of what sees tokens in steps with prompts: few tokens and many are told apart."""
METRICS = ("ttft", "tpot")
WAYS = ("alike", "spread")
SPREAD = 0.2  # lengths of the usual random workload: 0.8 to 1 times the nominal ones
MOST = 256  # clients followed one by one; more are followed in equal groups


@dataclass(frozen=True)
class Features:
    """Arrays over rows.

    Attributes:
        weights: (rows, metrics, ways, columns): seconds of sorts and counts of host work in the mean latency.
        least: (rows, metrics): seconds physics allows.
        found: rows that have features.
    """

    weights: np.ndarray
    least: np.ndarray
    found: np.ndarray


@lru_cache(maxsize=256)
def resolved_for(model: ModelRef, machine: str, engine: str) -> Resolved:
    program = Program(model, Workload("decode", 1, context=1024), Parallel(), STACKS[engine])
    return resolve(Scenario((program,), machine))


def grids(questions: Sequence[Deployment]) -> dict[tuple[ModelRef, str, str], tuple[PartGrid, dict[Layout, int]]]:
    """A grid for each model, machine and engine, with the place of every layout asked for."""
    wanted: dict[tuple[ModelRef, str, str], dict[Layout, None]] = {}
    for question in questions:
        for pool in question.pools:
            wanted.setdefault((question.model, question.machine, question.engine), {})[pool.layout] = None
    found = {}
    for key, layouts in wanted.items():
        resolved = resolved_for(*key)
        runs = {layout: runnable(resolved, layout) for layout in layouts}
        distinct = list(dict.fromkeys(runs.values()))
        found[key] = grid(resolved, distinct), {layout: distinct.index(run) for layout, run in runs.items()}
    return found


def runnable(resolved: Resolved, layout: Layout) -> Layout:
    """The layout, or where the model does not divide so, attention replicated on every rank of a wide pool of experts."""
    if bool(fits(resolved.graph, layout)):
        return layout
    return (
        Layout(1, layout.ranks, 1, layout.ranks)
        if layout.moe_ep > 1 or layout.tp > 8
        else Layout(layout.tp, 1, layout.tp, 1)
    )


def loop_of(question: Deployment, clients: int, room: float, spread: float) -> tuple[Loop, int]:
    """The closed loop of one attention rank, and how many clients each of its clients stands for."""
    group = -(-clients // MOST)
    fine = clients * (question.isl + question.osl) <= room
    budget = max(8192 // group, 1)
    rules = policy(STACKS[question.engine])
    if not rules.chunked:
        budget = max(budget, question.isl)
    return Loop(
        max(clients // group, 1), question.isl, question.osl, spread, budget, rules.chunked,
        "mixed" if rules.mixed else "prefill_first",
        capacity=float("inf") if fine else max(room / group, 1.0), whole=question.engine == "trtllm",
    ), group  # fmt: skip


def mixed_weights(grid_: PartGrid, layout: int, made: Composition, group: int, length: float) -> np.ndarray:
    """(metrics, columns) of one loop."""
    tokens, decoding, prompts = (v * group for v in (made.decoding + made.prompts, made.decoding, made.prompts))
    seconds = grid_.parts(
        layout, tokens, decoding + made.finished * group, decoding, made.context, made.squares * group, length
    )  # fmt: skip
    with_prompts = (prompts > 0).astype(float)
    host = np.stack(
        [
            np.ones_like(tokens),
            with_prompts,
            with_prompts * grid_.launches[layout],
            decoding + made.finished,
            0.0 * tokens,
        ],
        -1,
    )
    total = np.cumsum(np.concatenate([by_prompts(seconds, prompts > 0), host], -1) * made.steps[:, None], 0)
    total = np.concatenate([np.zeros((1, total.shape[1])), total])
    ttft = (total[made.first] - total[made.arrived]).mean(0)
    gaps = np.maximum(made.outputs - 1, 1)[:, None]
    tpot = ((total[made.last] - total[made.first]) / gaps).mean(0)
    return np.stack([ttft, tpot])


def by_prompts(seconds: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Seconds by sort (last axis) with what sees tokens moved to columns of its own where a step has prompts."""
    places = [SORTS.index(sort) for sort in BY_TOKENS]
    moved = seconds[..., places] * prompts[..., None]
    kept = seconds.copy()
    kept[..., places] -= moved
    return np.concatenate([kept, moved], -1)


def features(questions: Sequence[Deployment], workers: Sequence[tuple[int, int]] | None = None) -> Features:
    """Features of every row that has an answer.

    Args:
        questions: the rows.
        workers: (prefill, decode) workers to take for rows that state none; one way each row.
    """
    chosen = [q for q in questions if q.pools]
    known = grids(chosen)
    weights = np.full((len(questions), len(METRICS), len(WAYS), len(COLUMNS)), np.nan)
    least = np.full((len(questions), len(METRICS)), np.nan)
    for i, question in enumerate(questions):
        if not question.pools:
            continue
        key = (question.model, question.machine, question.engine)
        at, places = known[key]
        resolved = resolved_for(*key)
        if len(question.pools) == 1:
            layout = runnable(resolved, question.pools[0].layout)
            place = places[question.pools[0].layout]
            clients = max(round(question.clients / float(layout.adp)), 1)
            room = tokens_held(at, place, question.engine)
            for way, spread in enumerate((0.0, SPREAD)):
                loop, group = loop_of(question, clients, room, spread)
                weights[i, :, way] = mixed_weights(at, place, compose(loop), group, question.isl)
            least[i] = _least(at, place, place, question.isl)
        else:
            assumed = workers[i] if workers is not None else (1, 1)
            weights[i] = split_weights(question, at, places, resolved, assumed)[:, None]
            least[i] = _least(at, places[question.pools[0].layout], places[question.pools[1].layout], question.isl)
    weights[:, 0, :, COLUMNS.index("clients")] = np.array([q.clients for q in questions])[:, None]
    return Features(weights, least, np.isfinite(weights).all((1, 2, 3)))


def _least(at: PartGrid, prefill: int, decode: int, length: int) -> tuple[float, float]:
    first = line(np.asarray(float(length)), LENGTHS, at.least["prefill"][prefill])
    each = line(np.asarray(float(length)), CONTEXTS, at.least["decode"][decode])
    return float(first), float(each)


def tokens_held(at: PartGrid, layout: int, engine: str) -> float:
    """Tokens the KV cache of one attention rank holds."""
    total = at.capacity * REPORTED
    memory = divided(total, float(at.weights[layout]), float(at.cached[layout]), STACKS[engine], TUNED)
    return max(memory.tokens, LEAST * total / max(memory.token, 1.0))


def split_weights(
    question: Deployment, at: PartGrid, places: dict[Layout, int], resolved: Resolved, assumed: tuple[int, int]
) -> np.ndarray:
    """(metrics, columns) of prefill and decode workers in a closed loop (mean value analysis with one kind of request).

    Prompts are prefilled one at a time, each attention rank of a prefill worker its own; a client waits for a free one, gets
    its first token, and decodes on the fullest decode rank.
    """
    before, after = question.pools
    ahead, behind = (runnable(resolved, p.layout) for p in question.pools)
    servers = (before.workers or assumed[0]) * float(ahead.adp)
    ranks = (after.workers or assumed[1]) * float(behind.adp)
    length = float(question.isl)
    first = _step(at, places[before.layout], length, 1.0, 0.0, 0.0, length**2, length)
    service = first[: -len(HOST)].sum()
    clients, outputs = float(question.clients), max(question.osl - 1, 1)
    batch = max(clients / ranks, 1.0)
    context = length + question.osl / 2
    for _ in range(30):
        each = _step(at, places[after.layout], batch, batch, batch, context, 0.0, length)
        decode = outputs * each[: -len(HOST)].sum()
        rate = min(servers / service, clients / (service + decode))
        batch = 0.5 * batch + 0.5 * max(rate * decode / ranks, 1.0)
    queue = max(clients / rate - decode - service, 0.0) + _burst(service, servers, clients)
    return np.stack([first * (1.0 + queue / service), each])


def _burst(service: float, servers: float, clients: float) -> float:
    """Mean wait that the start adds: all clients at once, one request in :data:`...serving.composition.ROUNDS` of each."""
    return service * max(clients / servers - 1.0, 0.0) / 2 / ROUNDS


def _step(
    at: PartGrid, place: int, tokens: float, rows: float, decoding: float, context: float, squares: float, length: float
) -> np.ndarray:
    """Columns of one step."""
    seconds = at.parts(
        place, np.asarray(tokens), np.asarray(rows), np.asarray(decoding), np.asarray(context), np.asarray(squares), length
    )  # fmt: skip
    prompts = 1.0 if squares else 0.0
    told = by_prompts(seconds[None], np.array([squares > 0]))[0]
    return np.concatenate([told, [1.0, prompts, prompts * at.launches[place], rows, 0.0]])
