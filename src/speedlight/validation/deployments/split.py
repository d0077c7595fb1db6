"""Prefill and decode workers in a closed loop: mean latencies as sums of steps with known weights, as :mod:`.features` has them.

An approximate mean value analysis (Schweitzer 1979). Each attention rank of a prefill worker serves the prompts that wait for
it, as many at once as a step takes; a client waits for a free one, gets its first token, and decodes on the fullest decode
rank. Prompts are alike, so one that is being served is half done on average; several servers are one that is as fast as all,
and a delay (Seidmann 1987).

Two further waits (studies/2026-11-serving.md):

* **Slots.** TensorRT-LLM's decode workers take as many sequences as they were built for, a power of two where attention is cut
  over their ranks. Recipes load them with somewhat more clients, so that no slot stays empty; those beyond wait, before their
  first token, for one that ends: by Little's law decode time · (clients / slots − 1). No column says the slots; clients a
  worker up to :data:`OVERFULL` times a power of two are read so, more as a server with room left. Of workers nobody counted
  nothing is read: one, two and four of them leave the same remainder.
* **Start.** All clients come at once, in the first round or, where requests keep together, in every one.
"""

from __future__ import annotations

import math

import numpy as np

from ...engine.serving.part_grid import PartGrid
from ...placement.serving import Layout
from ...serving.composition import ROUNDS
from .columns import BUDGET, HOST, SPREAD, by_prompts
from .rows import Deployment, drafts

ACCEPTED = 0.85  # of drafted tokens, each on condition of those before it: DeepSeek-V3 report (arXiv 2412.19437), 5.4.3: 85-90 %
ITERATIONS = 60  # of the queue, at most
OVERFULL = 1.4  # clients over slots of recipes that load them beyond what they hold: 1.06 to 1.38 in the rows that wait
SIZED = ("trtllm",)  # engines whose workers are built for so many sequences; the others admit what their cache holds
_SECONDS = -len(HOST)  # columns before those of the host


def split_weights(
    question: Deployment, at: PartGrid, places: tuple[int, int], layouts: tuple[Layout, Layout], assumed: tuple[int, int, int]
) -> np.ndarray:  # fmt: skip
    """(metrics, ways, columns) of one row.

    Args:
        question: the row.
        at, places: its grid, and where in it the prefill and the decode workers' layouts are.
        layouts: of the two kinds of worker.
        assumed: (prefill, decode) workers and tokens drafted a step, of a row that states no workers.
    """
    servers, ranks = (
        (pool.workers or count) * float(layout.adp)
        for pool, layout, count in zip(question.pools, layouts, assumed[:2], strict=True)
    )
    unknown = any(pool.workers is None for pool in question.pools)
    drafted = assumed[2] if unknown and drafts(question.model) else 0
    sized = question.engine in SIZED and layouts[1].adp == 1 and not unknown
    room = slots(question.clients / ranks) if sized else math.inf
    ways = [
        _way(question, at, places, servers, ranks, room, drafted, length, alike)
        for length, alike in ((1.0, True), (1.0 - SPREAD / 2, False))
    ]
    return np.stack(ways, 1)


def slots(clients: float) -> float:
    """Sequences a worker holds that so many clients are meant for: fewer, where a recipe loads it beyond, else no end."""
    below = 2.0 ** math.floor(math.log2(max(clients, 1.0)))
    return below if 1.0 < clients / below < OVERFULL else math.inf


def _way(
    question: Deployment, at: PartGrid, places: tuple[int, int], servers: float, ranks: float, room: float, drafted: int,
    share_of_length: float, alike: bool,
) -> np.ndarray:  # fmt: skip
    """(metrics, columns) of requests that keep together (``alike``) or not."""
    clients, length = float(question.clients), question.isl * share_of_length
    outputs = max(question.osl * share_of_length - 1, 1.0)
    new, kept = 1.0 + drafted, sum(ACCEPTED**k for k in range(drafted + 1))
    most, context = max(int(BUDGET // length), 1), length + question.osl * share_of_length / 2
    together = np.arange(1.0, most + 1)
    steps = [_step(at, places[0], n * length, n, 0.0, 0.0, n * length**2, length) for n in together]
    service = np.array([step[:_SECONDS].sum() for step in steps])
    batch, waiting, count = max(min(clients / ranks, room), 1.0), 0.0, 1.0
    for _ in range(ITERATIONS):
        before_that = (waiting, count, batch)
        each = _step(at, places[1], batch * new, batch * new, batch, context, 0.0, length) / kept
        decode = outputs * each[:_SECONDS].sum()
        one = float(np.interp(count, together, service)) / count  # of a prompt, among those served with it
        share = one / servers
        others = waiting * (clients - 1.0) / clients
        rate = min(clients / (decode + service[0] + share * others), 1.0 / share)
        first = service[0] + share * max(others - 0.5 * rate * share, 0.0)
        first = max(first, clients / rate - decode)
        held = max(clients * decode / (room * ranks) - decode - first, 0.0)  # until a slot is free
        waiting = 0.5 * waiting + 0.5 * max(rate * (first - service[0]) + min(rate * share, 1.0), 0.0)
        count = 0.5 * count + 0.5 * float(np.clip(waiting / servers, 1.0, most))
        batch = 0.5 * batch + 0.5 * max(min(rate * decode, clients, room * ranks) / ranks, 1.0)
        if np.allclose(before_that, (waiting, count, batch), rtol=1e-3):
            break
    burst = one * max(clients / servers - 1.0, 0.0) / 2
    once = first + burst / ROUNDS
    way = max(service[0] + burst, once) if alike else once
    lot = round(count) - 1
    return np.stack([steps[lot] * (way / service[lot]) + each * (held * outputs / decode), each])


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
