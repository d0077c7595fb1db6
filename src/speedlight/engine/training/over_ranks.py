"""Messages of a training step along its mesh: over the ranks that share or copy weights, as each sort's wire has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ..steps.evaluate import PricedKernel
from .laid import Laid
from .messages import message_of, packing_of
from .rows import plain


def along(
    laid: Laid, name: str, collective: str, axis: str, payload: Value, spans: Sequence[tuple[Value, Value]], count: Value,
    phase: str,
) -> PricedKernel:  # fmt: skip
    """A message over the ranks of a mesh axis, ``count`` times; none where there is one rank.

    Args:
        payload, spans: as :func:`.messages.message_of` has them.
    """
    ranks: Value = 1.0
    for size, _ in spans:
        ranks = ranks * size
    present = where(np.asarray(ranks) > 1, 1.0, 0.0) * count
    return message_of(
        name, collective, (axis,), payload, spans, plain(present), machine=laid.machine, point=laid.point, stack=laid.stack,
        phase=phase,
    )  # fmt: skip


def carried(
    laid: Laid, name: str, collective: str, size: Value, spans: Sequence[tuple[Value, Value]], count: Value, phase: str
) -> list[PricedKernel]:
    """A message of gradients or weights as its wire has it, and what packs it."""
    wire = laid.wires["weights" if collective == "all_gather" else "gradients"]
    payload = size * wire.share
    if wire.collective == "all_gather" and collective == "all_reduce":  # what ranks send does not add up
        collective = wire.collective
        for ranks, _ in spans:
            payload = payload * ranks
    count = count / wire.period
    row = along(laid, name, collective, "dp", payload, spans, count, phase)
    if not np.any(np.asarray(wire.passes) > 0):
        return [row]
    packs = packing_of(
        f"{name}.pack", size * wire.passes, row.count, machine=laid.machine, point=laid.point, stack=laid.stack, phase=phase
    )  # fmt: skip
    return [row, packs]


def over_shards(
    laid: Laid, name: str, collective: str, sizes: tuple[Value, Value], count: Value, phase: str
) -> tuple[PricedKernel, ...]:
    """A message of dense weights (or gradients) over their shard ranks, and one of experts' over theirs."""
    made: list[PricedKernel] = []
    near = laid.parallel.near if collective == "all_gather" and phase == "backward" else None
    for sort, size, ranks, stride in zip(("", ".experts"), sizes, laid.shards, laid.strides, strict=True):
        if np.any(np.asarray(size) > 0):
            close = ranks if near is None else -maximum(-near, -ranks)
            times = where(np.asarray(size) > 0, count, 0.0) if np.ndim(size) else count
            made += carried(laid, name + sort, collective, size, ((close, stride),), times, phase)
    return tuple(made)


def between_shards(
    laid: Laid, name: str, sizes: tuple[Value, Value], count: Value, phase: str
) -> tuple[PricedKernel, ...]:
    """Hybrid sharding: what a shard's ranks have reduced is reduced again over the groups of shards."""
    made: list[PricedKernel] = []
    for sort, size, copies, ranks, stride in zip(
        ("", ".experts"), sizes, laid.copies, laid.shards, laid.strides, strict=True
    ):
        groups = copies / ranks
        if np.any(np.asarray(groups) > 1) and np.any(np.asarray(size) > 0):
            spans = ((groups, stride * ranks),)
            made += carried(laid, name + sort, "all_reduce", size / ranks, spans, count, phase)
    return tuple(made)
