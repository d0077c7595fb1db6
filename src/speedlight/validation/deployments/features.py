"""Rows' mean latencies as sums with known weights: seconds by sort of kernel, and counts of what costs the host.

A mean latency of a closed loop is a sum of step times (:mod:`speedlight.serving.composition`), and a step time a sum of
parts, so a row's TTFT and TPOT are linear in the parts: what is fitted is how much each part is bent, never the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from .rows import STACKS, Deployment, drafts

HOST = ("steps", "mixed", "launches", "gaps", "routing", "sequences", "clients")
"""Per step; per step with prompts; per kernel of such a step (not captured in a graph); per kernel of a step that only decodes; per layer of experts; per sequence of a step; per client a request shares the engine with."""
COLUMNS = (*SORTS, *(f"{sort}+" for sort in BY_TOKENS), *HOST)
"""Sorts of steps that only decode, then (``+``) of what sees tokens in steps with prompts: few tokens and many are told apart."""
_SECONDS = -len(HOST)  # columns before those of the host
METRICS = ("ttft", "tpot")
WAYS = ("alike", "spread")
SPREAD = 0.2  # lengths of the usual random workload: 0.8 to 1 times the nominal ones
ACCEPTED = 0.85  # of drafted tokens, each on condition of those before it: DeepSeek-V3 report (arXiv 2412.19437), 5.4.3: 85-90 %
ITERATIONS = 60  # of the queue, at most
BUDGET = 8192  # tokens of a step
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


Grids = Mapping[tuple[ModelRef, str, str], tuple[PartGrid, dict[Layout, int]]]


def grids(questions: Sequence[Deployment]) -> Grids:
    """A grid for each model, machine and engine, with the place of every layout asked for."""
    wanted: dict[tuple[ModelRef, str, str], dict[Layout, None]] = {}
    for question in questions:
        for pool in question.pools:
            wanted.setdefault((question.model, question.machine, question.engine), {})[pool.layout] = None
    found: dict[tuple[ModelRef, str, str], tuple[PartGrid, dict[Layout, int]]] = {}
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
    budget = max(BUDGET // group, 1)
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
            (1.0 - with_prompts) * grid_.captured[layout],
            np.full_like(tokens, grid_.routed),
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


def features(
    questions: Sequence[Deployment], assumed: tuple[int, int, int] = (1, 1, 0), known: Grids | None = None
) -> Features:
    """Features of every row that has an answer.

    Args:
        questions: the rows.
        assumed: (prefill, decode) workers, and tokens drafted a step, of rows that state no workers.
        known: :func:`grids` of these rows, or of more.
    """
    known = grids(questions) if known is None else known
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
            weights[i] = split_weights(question, at, places, resolved, assumed)
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
    question: Deployment, at: PartGrid, places: dict[Layout, int], resolved: Resolved, assumed: tuple[int, int, int]
) -> np.ndarray:
    """(metrics, ways, columns) of prefill and decode workers in a closed loop (approximate mean value analysis, Schweitzer 1979).

    Each attention rank of a prefill worker serves the prompts that wait for it, as many at once as a step takes; a client waits
    for a free one, gets its first token, and decodes on the fullest decode rank. Prompts are alike, so one that is being
    served is half done on average; several servers are one that is as fast as all, and a delay (Seidmann 1987).
    """
    before, after = question.pools
    ahead, behind = (runnable(resolved, p.layout) for p in question.pools)
    servers = (before.workers or assumed[0]) * float(ahead.adp)
    ranks = (after.workers or assumed[1]) * float(behind.adp)
    length, clients, outputs = float(question.isl), float(question.clients), max(question.osl - 1, 1)
    drafted = assumed[2] if None in (before.workers, after.workers) and drafts(question.model) else 0
    new, kept = 1.0 + drafted, sum(ACCEPTED**k for k in range(drafted + 1))
    most, context = max(BUDGET // question.isl, 1), length + question.osl / 2
    together = np.arange(1.0, most + 1)
    steps = [_step(at, places[before.layout], n * length, n, 0.0, 0.0, n * length**2, length) for n in together]
    service = np.array([step[:_SECONDS].sum() for step in steps])
    batch, waiting, count = max(clients / ranks, 1.0), 0.0, 1.0
    for _ in range(ITERATIONS):
        before_that = (waiting, count, batch)
        each = _step(at, places[after.layout], batch * new, batch * new, batch, context, 0.0, length) / kept
        decode = outputs * each[:_SECONDS].sum()
        one = float(np.interp(count, together, service)) / count  # of a prompt, among those served with it
        share = one / servers
        others = waiting * (clients - 1.0) / clients
        rate = min(clients / (decode + service[0] + share * others), 1.0 / share)
        first = service[0] + share * max(others - 0.5 * rate * share, 0.0)
        first = max(first, clients / rate - decode)
        waiting = 0.5 * waiting + 0.5 * max(rate * (first - service[0]) + min(rate * share, 1.0), 0.0)
        count = 0.5 * count + 0.5 * float(np.clip(waiting / servers, 1.0, most))
        batch = 0.5 * batch + 0.5 * max(min(rate * decode, clients) / ranks, 1.0)
        if np.allclose(before_that, (waiting, count, batch), rtol=1e-3):
            break
    burst = (
        one * max(clients / servers - 1.0, 0.0) / 2
    )  # all clients come at once: in every round, or in the first only
    lot = round(count) - 1
    once = first + burst / ROUNDS
    ways = (max(service[0] + burst, once), once)
    return np.stack([[steps[lot] * (way / service[lot]), each] for way in ways], 1)


def _step(
    at: PartGrid, place: int, tokens: float, rows: float, decoding: float, context: float, squares: float, length: float
) -> np.ndarray:
    """Columns of one step."""
    seconds = at.parts(
        place, np.asarray(tokens), np.asarray(rows), np.asarray(decoding), np.asarray(context), np.asarray(squares), length
    )  # fmt: skip
    prompts = 1.0 if squares else 0.0
    told = by_prompts(seconds[None], np.array([squares > 0]))[0]
    kernels = [prompts * at.launches[place], (1.0 - prompts) * at.captured[place], at.routed]
    return np.concatenate([told, [1.0, prompts, *kernels, rows, 0.0]])
