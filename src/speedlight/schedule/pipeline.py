"""Seconds of a training step's pipeline, its bubble, the sends left bare and what is in flight: closed forms and longest paths.

A pipeline is a list of *stage classes* in the model's order: so many stages alike, with seconds of one micro-batch forward and
backward. Usually three: first (embedding), middle × (pp·v − 2), last (head and loss); counts may be arrays and 0, so that
pp ∈ {1, 2, 4, 8} is one call, and any uneven cut is a longer list.

Closed forms are used where they are exact (the table; p ranks, m micro-batches, v chunks a rank, equal stages of f, b, w
seconds, s seconds a message); everything else takes the longest path through the passes (:mod:`speedlight.schedule.passes`),
which is exact too, at a cost of m · v · p.

===========  ======================================================  ===================================
schedule     seconds                                                 where
===========  ======================================================  ===================================
one rank     m · Σ (f + b + w)                                       always
gpipe        Σ f + (p−1)·s + (m−1)·max(f, s), and so for b           v = 1, any stages
1f1b         (m+p−1)·(f+b) + 2·s·(m+p−1 − ⌈(m+p−1)/p⌉)               equal stages, m ≥ p, s ≤ min(f, b)
interleaved  (m·v + p−1)·(f+b)                                       equal stages, p divides m, s = 0
zb-h1        m·(f+b+w) + (p−1)·(f+b−w)                               equal stages, m ≥ p, w ≤ min(f, b), s = 0
zb-h2        m·(f+b+w) + (p−1)·max(f+b−2w, 0)                        the same, m ≥ 2p−1
chimera      m·f + (m+p−2)·b                                         equal stages, m ≥ 2p, f ≤ b ≤ 3f, s = 0
===========  ======================================================  ===================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._foundation.arrays import Value
from .._foundation.errors import BadInput
from .families import FAMILIES, check, in_flight, parse, passes_of
from .passes import MOST, Floats, Passes, repeats, run


@dataclass(frozen=True, slots=True)
class StageClass:
    """Stages alike, one after another. Every field broadcasts.

    Attributes:
        count: how many; a stage is one chunk of a rank's layers, 1/v of them with v virtual stages.
        forward: seconds of one micro-batch's forward pass through one stage.
        backward: seconds of its backward pass, recomputation included, without ``weight``.
        weight: the part of the backward pass that takes gradients of weights, which zero-bubble schedules put off; in the
            others it follows ``backward`` at once.
        shared: seconds of one micro-batch's work that every rank does a share of between the last stage's forward and backward
            pass, messages included: vocabulary layers dealt to all ranks (``vocabulary`` alone).
    """

    count: Value
    forward: Value
    backward: Value
    weight: Value = 0.0
    shared: Value = 0.0


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """A pipeline's forward and backward passes of one step; ``time`` = ``busy`` + ``bubble`` + ``exposed_send``.

    Attributes:
        time: seconds from the first pass to the last (of the rank that works longest, where a schedule does not flush).
        busy: seconds the busiest rank computes.
        bubble: seconds that rank waits although messages took no time: fill, drain, and uneven stages.
        exposed_send: seconds that messages add.
        in_flight: of each stage class, micro-batches whose activations the rank of its first stage holds at its worst
            moment, counted in whole ranks of layers.
    """

    time: Value
    busy: Value
    bubble: Value
    exposed_send: Value
    in_flight: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """A question to :func:`pipeline_step`, kept so that it can be drawn later; fields are its arguments."""

    classes: tuple[StageClass, ...]
    micro_batches: Value
    schedule: str = "1f1b"
    virtual: Value | None = None
    send_s: Value = 0.0
    blocking: bool = False

    def step(self) -> PipelineStep:
        return pipeline_step(
            self.classes, self.micro_batches, self.schedule, virtual=self.virtual, send_s=self.send_s,
            blocking=self.blocking,
        )  # fmt: skip


def pipeline_step(
    classes: Sequence[StageClass],
    micro_batches: Value,
    schedule: str = "1f1b",
    *,
    virtual: Value | None = None,
    send_s: Value = 0.0,
    blocking: bool = False,
) -> PipelineStep:
    """Seconds of one step's passes through a pipeline.

    Args:
        classes: stages in the model's order; their counts add up to ranks × virtual.
        micro_batches: of one pipeline in one step (global batch / (dp × micro-batch size)).
        schedule: ``gpipe``, ``1f1b``, ``interleaved:v``, ``zb-h1``, ``zb-h2``, ``chimera`` (:mod:`.families`).
        virtual: stages a rank, in place of the schedule's own number; may be an array.
        send_s: seconds to hand one micro-batch's activations (or their gradients) to the next rank.
        blocking: ranks do nothing while they send; by default a message runs beside the next pass.

    Returns:
        every number of the broadcast shape of all arguments; floats where no argument is an array.

    Raises:
        BadInput: counts that are no multiple of ``virtual``, or sizes the schedule cannot run.
        UnknownName: of a schedule that does not exist.
    """
    name, layouts, shape = layouts_of(classes, micro_batches, schedule, virtual, send_s)
    busy, bare, time = _apart(name, layouts, blocking)
    ranks, rank_of = layouts.ranks, FAMILIES[name].rank_of
    firsts = [rank_of(start, ranks) for start in np.cumsum(layouts.counts, axis=0) - layouts.counts]
    # a class of no stage may start beyond the last rank
    held = [in_flight(name, ranks, layouts.micro_batches, layouts.virtual, np.minimum(r, ranks - 1)) for r in firsts]

    def shaped(values: Floats) -> Value:
        return values.reshape(shape) if shape else float(values[0])

    return PipelineStep(shaped(time), shaped(busy), shaped(bare - busy), shaped(time - bare), tuple(map(shaped, held)))


@dataclass(frozen=True, slots=True)
class Layouts:
    """Pipelines side by side: one column each; rows of the last five are stage classes."""

    micro_batches: Floats
    virtual: Floats
    send: Floats
    counts: Floats
    forward: Floats
    backward: Floats
    weight: Floats
    shared: Floats

    @property
    def ranks(self) -> Floats:
        ranks: Floats = self.counts.sum(axis=0) / self.virtual
        return ranks

    @property
    def work(self) -> Floats:
        """Seconds of one micro-batch's passes through one stage."""
        work: Floats = self.forward + self.backward + self.weight + self.shared
        return work

    def __getitem__(self, some: Floats) -> Layouts:
        return Layouts(*(getattr(self, field)[..., some] for field in self.__slots__))


def layouts_of(
    classes: Sequence[StageClass], micro_batches: Value, schedule: str, virtual: Value | None, send_s: Value
) -> tuple[str, Layouts, tuple[int, ...]]:
    """(name of the family, pipelines side by side, shape of the question), checked; as :func:`pipeline_step` takes them."""
    name, own = parse(schedule)
    given = [x for c in classes for x in (c.count, c.forward, c.backward, c.weight, c.shared)]
    numbers = [micro_batches, own if virtual is None else virtual, send_s, *given]
    spread = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in numbers))
    shape = spread[0].shape
    flat = np.stack([x.ravel() for x in spread])
    layouts = Layouts(*flat[:3], *(flat[i::5] for i in range(3, 8)))
    if not FAMILIES[name].shares and np.any(layouts.shared > 0):
        raise BadInput(f"work shared by all ranks in {name}", expected="the schedule vocabulary")
    if np.any(layouts.counts < 0) or np.any(layouts.counts != np.floor(layouts.counts)):
        raise BadInput("a number of stages is no whole number", expected="counts of 0, 1, 2 …")
    stages = layouts.counts.sum(axis=0)
    if np.any(stages < 1) or np.any(stages % layouts.virtual):
        raise BadInput(
            f"{_some(stages)} stages do not spread over ranks of {_some(layouts.virtual)}",
            expected="counts that add up to ranks × virtual stages",
        )
    check(name, layouts.ranks, layouts.micro_batches, layouts.virtual)
    return name, layouts, shape


def _some(values: Floats) -> str:
    return " ".join(f"{x:g}" for x in np.unique(values)[:4])


def _apart(name: str, layouts: Layouts, blocking: bool) -> tuple[Floats, Floats, Floats]:
    """As :func:`_seconds`, equal layouts of a sweep once (those that differ in what a pipeline does not see)."""
    rows = np.vstack([getattr(layouts, field) for field in layouts.__slots__])
    _, first, sort = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    if first.size == rows.shape[1]:
        return _seconds(name, layouts, blocking)
    busy, bare, time = _seconds(name, layouts[first], blocking)
    sort = sort.reshape(-1)
    return busy[sort], bare[sort], time[sort]


def _seconds(name: str, layouts: Layouts, blocking: bool) -> tuple[Floats, Floats, Floats]:
    """(busy, time without messages, time) of each layout: by closed form where one is exact, else by the longest path."""
    busy = _busiest(name, layouts)
    points = np.arange(layouts.send.size)
    sending = np.flatnonzero(layouts.send > 0)
    twice = layouts[np.concatenate([points, sending])]  # one walk for both: most of a small one is overhead
    send = twice.send.copy()
    send[: points.size] = 0.0
    twice = replace(twice, send=send)
    seconds = _closed(name, twice, blocking)
    open_ = np.flatnonzero(np.isnan(seconds))
    if open_.size:
        seconds[open_] = _walked(name, twice[open_], blocking)
    bare = np.maximum(seconds[: points.size], busy)
    time = bare.copy()
    time[sending] = np.maximum(seconds[points.size :], bare[sending])
    return busy, bare, time


def _closed(name: str, layouts: Layouts, blocking: bool) -> Floats:
    """Seconds by the module's table; NaN where no closed form is exact."""
    p, m, v, s = layouts.ranks, layouts.micro_batches, layouts.virtual, layouts.send
    f, b, w, equal = _stage(layouts)
    if not FAMILIES[name].splits:
        b, w = b + w, np.zeros_like(w)
    alone = (m * layouts.counts * layouts.work).sum(axis=0)
    time = np.full(p.shape, np.nan)
    bare = (s == 0) & equal
    beside = (s == 0) | (not blocking)
    if name == "gpipe":
        passes = (layouts.forward, layouts.backward + layouts.weight)
        time = np.where((v == 1) & beside, sum(_flow(layouts.counts, x, p, m, s) for x in passes), time)
    elif name == "1f1b":
        n = m + p - 1
        exact = equal & beside & (m >= p) & (s <= np.minimum(f, b))
        time = np.where(exact, n * (f + b) + 2 * s * (n - np.ceil(n / p)), time)
    elif name == "interleaved":
        time = np.where(bare & (m % p == 0), (m * v + p - 1) * (f + b), time)
    elif name in ("zb-h1", "zb-h2"):
        exact = bare & (w <= np.minimum(f, b)) & (m >= (p if name == "zb-h1" else 2 * p - 1))
        left = f + b - w if name == "zb-h1" else np.maximum(f + b - 2 * w, 0.0)
        time = np.where(exact, m * (f + b + w) + (p - 1) * left, time)
    elif name == "chimera":
        exact = bare & (m >= 2 * p) & (f <= b) & (b <= 3 * f)
        time = np.where(exact, m * f + (m + p - 2) * b, time)
    return np.where(p == 1, alone, time)


def _flow(counts: Floats, seconds: Floats, p: Floats, m: Floats, s: Floats) -> Floats:
    """A row of stages and links between them, all micro-batches one way: fill with the first, then the slowest of them."""
    slowest = np.where(counts > 0, seconds, 0.0).max(axis=0)
    total: Floats = (
        (counts * seconds).sum(axis=0) + (p - 1) * s + (m - 1) * np.maximum(slowest, np.where(p > 1, s, 0.0))
    )
    return total


def _stage(layouts: Layouts) -> tuple[Floats, Floats, Floats, Floats]:
    """Seconds (f, b, w) of a stage, and whether all stages of a layout are equal."""
    here = layouts.counts > 0
    found = []
    equal = np.ones(layouts.send.shape, bool)
    for seconds in (layouts.forward, layouts.backward, layouts.weight):
        high = np.where(here, seconds, -np.inf).max(axis=0)
        equal &= high == np.where(here, seconds, np.inf).min(axis=0)
        found.append(high)
    return found[0], found[1], found[2], equal


def _busiest(name: str, layouts: Layouts) -> Floats:
    """Seconds the busiest rank computes."""
    busy = np.empty(layouts.send.shape)
    total = layouts.work
    for rows, p, m, v, classes in _groups(layouts):
        each = total[:, rows][classes]  # (stages, layouts)
        holder = FAMILIES[name].holder(p, v)
        load = np.zeros((p, rows.size))
        for copy in holder:
            np.add.at(load, copy, each / len(holder))
        busy[rows] = m * load.max(axis=0)
    return busy


def _groups(layouts: Layouts) -> Iterator[tuple[Floats, int, int, int, Floats]]:
    """Layouts of one size together: (their columns, ranks, micro-batches, virtual stages, class of each stage)."""
    key = np.vstack([layouts.micro_batches, layouts.virtual, layouts.counts])
    sizes, group = np.unique(key, axis=1, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    for size, a, b in zip(sizes.T, np.append(0, ends[:-1]), ends, strict=True):
        m, v, counts = int(size[0]), int(size[1]), size[2:].astype(int)
        yield order[a:b], int(counts.sum()) // v, m, v, np.repeat(np.arange(counts.size), counts)


def _walked(name: str, layouts: Layouts, blocking: bool) -> Floats:
    """Seconds by the longest path: over the first micro-batches where a pipeline repeats itself after them, else over all."""
    time = np.full(layouts.send.shape, np.nan)
    p, m = layouts.ranks, layouts.micro_batches
    few = FAMILIES[name].settles * p + m % p
    long = np.flatnonzero((few >= p) & (m > few + p) & ((m % p == 0) | (layouts.virtual == 1)))
    if long.size:
        time[long] = _whole(name, replace(layouts[long], micro_batches=few[long]), blocking, m[long])
    left = np.flatnonzero(np.isnan(time))
    if left.size:
        time[left] = _whole(name, layouts[left], blocking)
    return time


def _whole(name: str, layouts: Layouts, blocking: bool, until: Floats | None = None) -> Floats:
    """Seconds by the longest path through every pass, layouts of one size at once; of several orders the fastest.

    Args:
        until: micro-batches to go on to where the pipeline repeats itself (NaN where it does not).
    """
    time = np.full(layouts.send.shape, np.inf)
    for rows, p, m, v, classes in _groups(layouts):
        for which in range(1 + len(FAMILIES[name].others)):
            passes = passes_of(name, p, m, v, which)
            for part in np.array_split(rows, -(-rows.size * passes.size // MOST)):
                end = _walk(passes, layouts[part], classes, blocking)
                found = _length(name, passes, end, layouts[part], classes)
                if until is not None:
                    found = found + (until[part] - m) * repeats(passes, end)
                time[part] = np.minimum(time[part], found)
    return time


def _walk(passes: Passes, layouts: Layouts, classes: Floats, blocking: bool) -> Floats:
    end, _ = run(passes, table_of(passes, layouts, classes), layouts.send, blocking=blocking)
    return end


def _length(name: str, passes: Passes, end: Floats, layouts: Layouts, classes: Floats) -> Floats:
    """Seconds of a step from the ends of its passes."""
    if FAMILIES[name].flushes:
        last: Floats = end[passes.last].max(axis=0)
        return last
    order = passes.order
    first = table_of(passes, layouts, classes)[order.kind[passes.first], order.stage[passes.first]]
    spans: Floats = (end[passes.last] - end[passes.first] + first).max(axis=0)
    return spans


def table_of(passes: Passes, layouts: Layouts, classes: Floats) -> Floats:
    """Seconds of a pass by kind and stage, (kinds, stages, layouts); weights' gradients belong to the backward pass unless split."""
    each = (x[classes] for x in (layouts.forward, layouts.backward, layouts.weight, layouts.shared))
    forward, backward, weight, shared = each
    return np.stack([forward, backward if passes.order.split else backward + weight, weight, shared])
