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
from ...engine.serving.part_grid import CONTEXTS, LENGTHS, PartGrid, grid, line
from ...placement.serving import Layout, fits
from ...scenario.scenario import ModelRef, Parallel, Program, Scenario
from ...serving.composition import Composition, Loop, compose
from ...serving.policy import policy
from ...workload.workload import Workload
from .columns import BUDGET, COLUMNS, METRICS, SPREAD, by_prompts
from .rows import STACKS, Deployment
from .split import split_weights

WAYS = ("alike", "spread")
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
            ahead, behind = (pool.layout for pool in question.pools)
            run = (runnable(resolved, ahead), runnable(resolved, behind))
            weights[i] = split_weights(question, at, (places[ahead], places[behind]), run, assumed)
            least[i] = _least(at, places[ahead], places[behind], question.isl)
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
