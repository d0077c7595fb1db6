"""In which order each rank of a pipeline runs its passes: one function a family of schedules.

A *pass* is one micro-batch through one stage: forward, backward (the gradient of its inputs, and of its weights too unless
those are split off), the gradient of weights alone, or every rank's share of what comes between the last forward and the first
backward pass of a micro-batch (a loss over a vocabulary dealt to all ranks). A stage is one chunk of the model; with v virtual stages a rank holds
v of them. An order says nothing about seconds: :mod:`speedlight.schedule.passes` finds what must wait for what, and when
everything runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value, ceil, floor, maximum

FORWARD, BACKWARD, WEIGHT, SHARED = 0, 1, 2, 3
KINDS = ("forward", "backward", "weight", "shared")

Ints = np.ndarray


@dataclass(frozen=True, slots=True)
class Order:
    """Passes of a pipeline, rank after rank, each rank's in its order.

    Attributes:
        rank, kind, micro, stage: of each pass; stages are numbered along the model.
        ranks, micro_batches, stages: how many of each.
        holder: rank of each stage, one row for each copy of the model (two of a bidirectional pipeline).
        split: whether gradients of weights are passes of their own.
    """

    rank: Ints
    kind: Ints
    micro: Ints
    stage: Ints
    ranks: int
    micro_batches: int
    stages: int
    holder: Ints
    split: bool

    @property
    def copy(self) -> Ints:
        """Copy of the model each micro-batch runs through."""
        chosen: Ints = copies(self.micro_batches, len(self.holder))[self.micro]
        return chosen


def copies(micro_batches: int, number: int) -> Ints:
    """Copy of the model of each micro-batch: the first half runs down the pipeline, the second up."""
    return np.arange(micro_batches) * number // micro_batches


def looped(ranks: int, virtual: int) -> Ints:
    """Stage s on rank s mod p (arXiv 2104.04473 §2.2)."""
    return (np.arange(ranks * virtual) % ranks)[None]


def folded(ranks: int) -> Ints:
    """Two stages a rank, down the ranks and up again (arXiv 2405.15362, "V-shape")."""
    down = np.arange(ranks)
    return np.concatenate([down, down[::-1]])[None]


def both_ways(ranks: int) -> Ints:
    """Two copies of the model, one down the ranks and one up (arXiv 2107.06925 §3.1)."""
    down = np.arange(ranks)
    return np.stack([down, down[::-1]])


def gpipe(ranks: int, micro_batches: int, virtual: int) -> Order:
    """All forward passes, then all backward passes (arXiv 1811.06965 §2.3)."""
    return _alternating(ranks, micro_batches, virtual, lambda rank, total: total)


def one_f_one_b(ranks: int, micro_batches: int, virtual: int) -> Order:
    """1F1B: rank r runs p − 1 − r forwards ahead, then one forward, one backward (arXiv 2104.04473 §2.2.1)."""
    return _alternating(ranks, micro_batches, virtual, lambda rank, total: ranks - 1 - rank)


def interleaved(ranks: int, micro_batches: int, virtual: int) -> Order:
    """v stages a rank; micro-batches go through a rank's chunks in groups of g = p (arXiv 2104.04473 §2.2.2).

    Rank r runs 2(p − 1 − r) + (v − 1)·g forwards ahead, as Megatron-LM does. Where p does not divide m, groups are larger and as
    equal as they can be: a group of less than p would leave ranks waiting for each other.
    """
    largest = group_size(ranks, micro_batches)
    return _alternating(ranks, micro_batches, virtual, lambda rank, _: 2 * (ranks - 1 - rank) + (virtual - 1) * largest)


def group_size(ranks: Value, micro_batches: Value) -> Value:
    """Micro-batches of the largest group that goes through a rank's chunks together: ⌈m / max(⌊m/p⌋, 1)⌉; broadcasts."""
    return ceil(micro_batches / maximum(floor(micro_batches / ranks), 1))


def _alternating(ranks: int, micro_batches: int, virtual: int, ahead: Callable[[int, int], int]) -> Order:
    """Forwards ``ahead``, then one of each in turn, then the backwards left."""
    total = micro_batches * virtual
    micro, chunk = _groups(ranks, micro_batches, virtual)
    passes = []
    for rank in range(ranks):
        warm = int(min(ahead(rank, total), total))
        kind = np.concatenate([np.zeros(warm, int), np.tile([FORWARD, BACKWARD], total - warm), np.ones(warm, int)])
        number = np.empty(2 * total, int)
        number[kind == FORWARD] = number[kind == BACKWARD] = np.arange(total)
        of_chunk = np.where(kind == FORWARD, chunk[number], virtual - 1 - chunk[number])
        passes.append((kind, micro[number], of_chunk * ranks + rank))
    return _order(passes, ranks, micro_batches, looped(ranks, virtual), split=False)


def _groups(ranks: int, micro_batches: int, virtual: int) -> tuple[Ints, Ints]:
    """(micro-batch, chunk) in the order a rank takes them: p micro-batches through each chunk, then the next p."""
    every = np.arange(micro_batches)
    groups = np.array_split(every, max(micro_batches // ranks, 1))
    group = np.repeat(np.arange(len(groups)), [g.size for g in groups])
    micro = np.tile(every, virtual)
    chunk = np.repeat(np.arange(virtual), micro_batches)
    by = np.lexsort((micro, chunk, np.tile(group, virtual)))
    return micro[by], chunk[by]


def vocabulary(ranks: int, micro_batches: int, virtual: int, pace: float = 2.0) -> Order:
    """1F1B whose vocabulary layers are dealt to all ranks: each runs its share of a micro-batch's when the last stage is done
    with it, and the last stage goes back when all are, for which it holds one micro-batch more (arXiv 2411.05288 §4.2, one
    barrier).

    Passes are ordered by when they would run if a backward pass took ``pace`` forward passes' time (f = 1, a micro-batch every
    1 + pace): rank r runs forward at r, all ranks their shares at p, and rank r backward pace · (p − 1 − r) after the last one does.
    """
    turn = (1.0 + pace) * np.arange(micro_batches)
    passes = []
    for rank in range(ranks):
        begins = np.concatenate([rank + turn, ranks + turn, ranks + pace + 0.5 + pace * (ranks - 1 - rank) + turn])
        by = np.argsort(begins, kind="stable")
        kind = np.repeat([FORWARD, SHARED, BACKWARD], micro_batches)[by]
        passes.append((kind, np.tile(np.arange(micro_batches), 3)[by], np.full(by.size, rank)))
    return _order(passes, ranks, micro_batches, looped(ranks, 1), split=False)


def zero_bubble_h1(ranks: int, micro_batches: int, virtual: int) -> Order:
    """ZB-H1: 1F1B whose weight gradients lag r passes behind on rank r, so that backwards start earlier and what was put
    off fills the drain; no rank holds more than the first one does in 1F1B (arXiv 2401.10241 §2.1)."""
    return _lagging(ranks, micro_batches, lambda rank: ranks - 1 - rank, lambda rank: rank)


def zero_bubble_h2(ranks: int, micro_batches: int, virtual: int) -> Order:
    """ZB-H2: forwards fill the wait for the first backward, up to 2p − 1 in flight; every rank works without a pause from
    its first pass to its last, and ranks start and end one after another (arXiv 2401.10241 §2.2)."""
    return _lagging(ranks, micro_batches, lambda rank: 2 * (ranks - 1 - rank), lambda rank: 2 * rank)


def _lagging(ranks: int, micro_batches: int, ahead: Callable[[int], int], lag: Callable[[int], int]) -> Order:
    """1F1B with weight gradients ``lag`` backwards behind theirs."""
    every = np.arange(micro_batches)
    passes = []
    for rank in range(ranks):
        warm = min(ahead(rank), micro_batches)
        kind = np.concatenate(
            [np.zeros(warm, int), np.tile([FORWARD, BACKWARD], micro_batches - warm), np.ones(warm, int)]
        )
        number = np.empty(2 * micro_batches, int)
        number[kind == FORWARD] = number[kind == BACKWARD] = every
        done = np.flatnonzero(kind == BACKWARD)  # place of each backward
        place = np.concatenate([np.arange(kind.size), done[np.minimum(every + lag(rank), micro_batches - 1)]])
        kind = np.concatenate([kind, np.full(micro_batches, WEIGHT)])
        number = np.concatenate([number, every])
        by = np.lexsort((number, kind == WEIGHT, place))  # at one place a backward comes before what it releases
        passes.append((kind[by], number[by], np.full(kind.size, rank)))
    return _order(passes, ranks, micro_batches, looped(ranks, 1), split=True)


def zero_bubble_v(ranks: int, micro_batches: int, virtual: int) -> Order:
    """ZB-V: two chunks a rank, down the ranks and up again, so that every rank holds as much as 1F1B's first one; without a
    bubble where forward, backward and weight passes take equal time (arXiv 2401.10241 §5, 2405.15362)."""
    f0, f1, b0, b1, w0, w1 = range(6)  # the pass of either chunk
    kind_of = np.array([FORWARD, FORWARD, BACKWARD, BACKWARD, WEIGHT, WEIGHT])
    most = max(micro_batches, 2 * ranks - 1)  # the pattern fills the pipeline; what is beyond m is left out
    passes = []
    for rank in range(ranks):
        up = ranks - rank
        code = np.array(
            [f0] * (2 * up - 1) + [f1, f0] * rank + [f1, b1, w1] * up  # fill
            + [f0, b0, w0, f1, b1, w1] * (most - 2 * ranks + 1 + rank) + [b0, w0, f1, b1, w1] * (up - 1)  # steady
            + [b0, b1] * rank + [b0, w0] * up + [w1] * rank + [w0] * rank  # drain
        )  # fmt: skip
        number = np.empty(code.size, int)
        for one in range(6):
            number[code == one] = np.arange(most)
        real = number < micro_batches
        code, number = code[real], number[real]
        passes.append((kind_of[code], number, np.where(code % 2 == 0, rank, 2 * ranks - 1 - rank)))
    return _order(passes, ranks, micro_batches, folded(ranks), split=True)


def bidirectional(ranks: int, micro_batches: int, virtual: int) -> Order:
    """Chimera: one copy of the model down the ranks and one up, half the micro-batches each, at most p in flight (arXiv 2107.06925
    §3.1, §3.5).

    The order is that of ranks which, whenever they are free, take the oldest pass that may run. Of more than p micro-batches
    forwards count p/2 older than they are, and backward passes take two forward passes' time: so a step is the paper's m forwards
    and m + p − 2 backwards, whatever either takes.
    """
    many = micro_batches > ranks
    ahead, longer = (ranks // 2, 1) if many else (0, 0)
    half, free, held = micro_batches // 2, [0] * ranks, [0] * ranks
    done = np.zeros((2, 2, ranks), int)  # passes begun, by kind, copy and stage
    ready: list[list[list[list[int]]]] = [
        [[[] for _ in range(ranks)] for _ in (0, 1)] for _ in (0, 1)
    ]  # when each may begin
    for copy in (0, 1):
        ready[FORWARD][copy][0] = [0] * half
    passes: list[list[tuple[int, int, int]]] = [[] for _ in range(ranks)]
    left, now = 4 * half * ranks, 0
    while left:
        for rank in range(ranks):
            if free[rank] > now:
                continue
            options = []
            for copy in (0, 1):
                stage = rank if copy == 0 else ranks - 1 - rank
                for kind in (FORWARD, BACKWARD):
                    number = int(done[kind, copy, stage])
                    may = ready[kind][copy][stage]
                    if number < len(may) and may[number] <= now and (kind == BACKWARD or held[rank] < ranks):
                        age = number - (ahead if kind == FORWARD else 0)
                        options.append((age, -kind, copy, stage, number))
            if not options:
                continue
            _, kind, copy, stage, number = min(options)
            kind = -kind
            free[rank] = now + 1 + longer * kind
            done[kind, copy, stage] += 1
            held[rank] += 1 if kind == FORWARD else -1
            passes[rank].append((kind, number + copy * half, stage))
            left -= 1
            if kind == FORWARD:
                following = ready[FORWARD][copy][stage + 1] if stage + 1 < ranks else ready[BACKWARD][copy][stage]
                following.append(free[rank])
            elif stage:
                ready[BACKWARD][copy][stage - 1].append(free[rank])
        now += 1
    columns = [tuple(np.array(column) for column in zip(*of_rank, strict=True)) for of_rank in passes]
    return _order(columns, ranks, micro_batches, both_ways(ranks), split=False)  # type: ignore[arg-type]


def _order(
    passes: list[tuple[Ints, Ints, Ints]], ranks: int, micro_batches: int, holder: Ints, *, split: bool
) -> Order:
    kind, micro, stage = (np.concatenate(column).astype(np.int32) for column in zip(*passes, strict=True))
    rank = np.repeat(np.arange(ranks, dtype=np.int32), [len(p[0]) for p in passes])
    return Order(rank, kind, micro, stage, ranks, micro_batches, holder.shape[1], holder, split)
