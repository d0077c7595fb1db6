"""Pipeline schedules by name: how a rank's chunks lie, which order its passes run in, what it must hold.

=================  =========================================  ========================================
name               source                                     what it is
=================  =========================================  ========================================
gpipe              arXiv 1811.06965 §2.3                      all forwards, then all backwards
1f1b               arXiv 2104.04473 §2.2.1 (PipeDream-Flush)  one forward, one backward
pipedream          arXiv 1806.03377 §3.2                      1f1b without a flush, weights in versions
interleaved:v      arXiv 2104.04473 §2.2.2                    v chunks of the model on every rank
zb-h1              arXiv 2401.10241 §2.1                      weight gradients fill the drain
zb-h2              arXiv 2401.10241 §2.2                      … and twice the activations the fill
vocabulary         arXiv 2411.05288 §4.2                      1f1b, vocabulary layers on all ranks
zb-v               arXiv 2401.10241 §5, 2405.15362            two chunks a rank, down and up again
chimera            arXiv 2107.06925 §3.1                      two copies of the model, both ways
=================  =========================================  ========================================

``zero-bubble`` is short for ``zb-h1``, ``interleaved`` for ``interleaved:2``, ``bidirectional`` for ``chimera``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .._foundation.arrays import Value, maximum, minimum, where
from .._foundation.errors import BadInput, UnknownName
from . import orders
from .orders import Ints, Order
from .passes import Passes, connect

ALIASES = {"zero-bubble": "zb-h1", "bidirectional": "chimera", "pipedream-flush": "1f1b"}


@dataclass(frozen=True, slots=True)
class Family:
    """A family of schedules.

    Attributes:
        order: passes of each rank, from (ranks, micro-batches, virtual stages).
        in_flight: most stage activations a rank holds at once (of ``chimera`` no less than that), from (ranks, micro-batches, virtual, rank), broadcasting.
        others: orders for other ratios of backward to forward passes; the fastest is run.
        rank_of: rank of a stage (of the copy that runs down), from (stage, ranks), broadcasting.
        holder: rank of each stage, a row for each copy of the model, from (ranks, virtual stages).
        splits: whether gradients of weights are passes of their own; where not, they belong to the backward pass.
        shares: whether ranks share work between a micro-batch's last forward and first backward pass.
        copies: copies of the model's weights and gradients that the ranks hold.
        chunks: stages a rank where the family fixes their number; ``interleaved`` does not.
        settles: micro-batches, in ranks, after which a pipeline usually repeats itself; 0 where they are few or their order
            has no period.
        even: ranks and micro-batches must be even.
        folded: chunks lie down the ranks and up again.
        versions: weights a rank keeps for the micro-batches under way, from (ranks, micro-batches, rank), broadcasting: where
            steps follow one another without a flush, backward passes need the weights of their forward passes.
        steady: steps follow one another for ever, so that a step takes what its micro-batches take in a pipeline under way.
        flushes: every rank waits for the last one before the next step (False: ranks end one after another, arXiv
            2401.10241 §4 validates afterwards, and a step takes as long as one rank works).
    """

    order: Callable[[int, int, int], Order]
    in_flight: Callable[[Value, Value, Value, Value], Value]
    others: tuple[Callable[[int, int, int], Order], ...] = ()
    rank_of: Callable[[Value, Value], Value] = lambda stage, ranks: stage % ranks
    holder: Callable[[int, int], Ints] = orders.looped
    splits: bool = False
    shares: bool = False
    copies: int = 1
    chunks: int | None = 1
    settles: int = 0
    even: bool = False
    folded: bool = False
    versions: Callable[[Value, Value, Value], Value] = lambda p, m, r: 1.0
    steady: bool = False
    flushes: bool = True


FAMILIES = {
    "gpipe": Family(orders.gpipe, lambda p, m, v, r: m * v),
    "1f1b": Family(orders.one_f_one_b, lambda p, m, v, r: minimum(p - r, m), settles=6),
    "pipedream": Family(
        orders.one_f_one_b,
        lambda p, m, v, r: minimum(p - r, m),
        settles=6,
        flushes=False,
        steady=True,
        versions=lambda p, m, r: maximum(p - r, 1.0),
    ),
    "interleaved": Family(
        orders.interleaved,
        lambda p, m, v, r: minimum(2 * (p - 1 - r) + (v - 1) * orders.group_size(p, m) + 1, m * v),
        chunks=None,
        settles=8,
    ),
    "vocabulary": Family(
        orders.vocabulary,
        lambda p, m, v, r: minimum(p - r + 1, m),
        others=(partial(orders.vocabulary, pace=1.0), partial(orders.vocabulary, pace=3.0)),
        shares=True,
    ),
    "zb-h1": Family(orders.zero_bubble_h1, lambda p, m, v, r: minimum(p, m), splits=True, settles=6),
    "zb-h2": Family(orders.zero_bubble_h2, lambda p, m, v, r: minimum(2 * p - 1, m), splits=True, flushes=False),
    "zb-v": Family(
        orders.zero_bubble_v,
        lambda p, m, v, r: minimum(2 * p - 1 - r, m) + minimum(r + 1, m),
        rank_of=lambda stage, ranks: minimum(stage, 2 * ranks - 1 - stage),
        holder=lambda p, v: orders.folded(p),
        splits=True,
        chunks=2,
        folded=True,
        flushes=False,
    ),
    "chimera": Family(
        orders.bidirectional,
        lambda p, m, v, r: where(m > p, p, minimum(m / 2, p - r) + minimum(m / 2, r + 1)),
        holder=lambda p, v: orders.both_ways(p),
        copies=2,
        even=True,
    ),
}


def parse(text: str) -> tuple[str, int]:
    """(name of the family, virtual stages a rank) of ``interleaved:4``.

    Raises:
        UnknownName, BadInput: for other names, and numbers that are none.
    """
    name, _, number = text.lower().replace("_", "-").partition(":")
    name = ALIASES.get(name, name)
    if name not in FAMILIES:
        raise UnknownName("pipeline schedule", text, [*FAMILIES, *ALIASES])
    if not number:
        return name, FAMILIES[name].chunks or 2
    if FAMILIES[name].chunks is not None and number != str(FAMILIES[name].chunks):
        raise BadInput(f"schedule {text!r}", expected=f"{name} without a number", hint="interleaved:v takes one")
    if not number.isdigit() or int(number) < 1:
        raise BadInput(f"schedule {text!r}", expected="interleaved:v with a whole number of stages a rank, v ≥ 1")
    return name, int(number)


def check(name: str, ranks: Any, micro_batches: Any, virtual: Any) -> None:
    """Refuse what a family cannot run.

    Raises:
        BadInput: micro-batches below 1, several stages a rank outside ``interleaved``, odd sizes of ``chimera``.
    """
    family = FAMILIES[name]
    for what, value in (("micro-batches", micro_batches), ("pipeline ranks", ranks), ("virtual stages", virtual)):
        numbers = np.asarray(value)
        if np.any(numbers < 1) or np.any(numbers != np.floor(numbers)):
            raise BadInput(f"{what}: {value}", expected="a whole number, at least 1")
    if family.chunks is not None and np.any(np.asarray(virtual) != family.chunks):
        raise BadInput(
            f"{virtual} stages a rank in {name}", expected=str(family.chunks), hint="interleaved:v has any number"
        )
    if family.even:
        odd = ((np.asarray(ranks) % 2 == 1) & (np.asarray(ranks) > 1)) | (np.asarray(micro_batches) % 2 == 1)
        if np.any(odd & (np.asarray(ranks) > 1)):
            raise BadInput(
                f"{name} with {ranks} ranks and {micro_batches} micro-batches", expected="even numbers of both",
                hint="half the micro-batches run each way",
            )  # fmt: skip


def in_flight(name: str, ranks: Value, micro_batches: Value, virtual: Value = 1, rank: Value = 0) -> Value:
    """Micro-batches whose activations a rank holds at its worst moment, counted in whole ranks of layers (chunks / v).

    Args:
        rank: 0 is the first.
    """
    piped = FAMILIES[name].in_flight(ranks, micro_batches, virtual, rank)
    # without a pipeline micro-batches run one after another, whatever the schedule is called
    return where(ranks > 1, piped, micro_batches * virtual if name == "gpipe" else virtual) / virtual


@lru_cache(maxsize=128)
def passes_of(name: str, ranks: int, micro_batches: int, virtual: int, which: int = 0) -> Passes:
    """The family's order (number ``which`` of them) with what waits for what; kept, because a search asks again."""
    family = FAMILIES[name]
    return connect((family.order, *family.others)[which](ranks, micro_batches, virtual))
