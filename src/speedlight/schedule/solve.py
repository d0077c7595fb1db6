"""Pipelines side by side, solved: closed forms where they are exact, the longest path through all passes elsewhere.

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
pipedream    m · max(max (f + b), (Σ (f + b) + 2(p−1)·s) / p)        any stages (a message is blocking: f + b + 2s)
===========  ======================================================  ===================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .families import FAMILIES, passes_of
from .passes import MOST, Floats, Passes, repeats, run


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


def seconds(name: str, layouts: Layouts, blocking: bool) -> tuple[Floats, Floats, Floats]:
    """(busy, time without messages, time) of each layout; equal layouts of a sweep once (those that differ in what a pipeline does not
    see)."""
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
    elif FAMILIES[name].steady:  # steps follow one another: the slowest rank, or p micro-batches once round
        each = layouts.forward + layouts.backward + layouts.weight + (2 * s if blocking else 0.0)
        slowest = np.where(layouts.counts > 0, each, 0.0).max(axis=0)
        round_ = ((layouts.counts * each).sum(axis=0) + (0.0 if blocking else 2 * (p - 1) * s)) / p
        time = m * np.maximum(np.maximum(slowest, round_), 2 * s)
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
        time[long] = whole(name, replace(layouts[long], micro_batches=few[long]), blocking, m[long])
    left = np.flatnonzero(np.isnan(time))
    if left.size:
        time[left] = whole(name, layouts[left], blocking)
    return time


def whole(name: str, layouts: Layouts, blocking: bool, until: Floats | None = None) -> Floats:
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
