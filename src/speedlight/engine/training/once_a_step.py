"""What a training step does once: gradients summed over copies of the weights, new weights handed round, the host's update.

Weights' gradients are reduced behind the last micro-batch's backward pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ...placement.stages import Shares
from ...schedule.families import FAMILIES, parse
from ...schedule.layouts import behind
from ...stacks.transfers import transfers_of
from ..steps.evaluate import PricedKernel
from .laid import Laid, shard_of
from .over_ranks import along, between_shards, carried, over_shards
from .parts import Part, bare_of
from .rows import plain, some


def summed(laid: Laid, parts: Sequence[Part], shares: Shares) -> list[PricedKernel]:
    """Gradients summed over the copies of the weights once a step, and new weights handed round (ZeRO-1 and 2)."""
    zero = np.asarray(laid.parallel.zero)
    once = plain(where(zero < 2, 1.0, 0.0))
    whole = plain(where(zero == 0, 1.0, 0.0))
    rows: list[PricedKernel] = []
    line: list[tuple[Value, Value, Value]] = []
    shared = _shared_bytes(laid, shares)
    last = [part for part in parts if part.phase == "backward"][-1].name
    computed: Value = 0.0
    for part in parts:
        if part.phase != "backward":
            continue
        held = laid.holdings.blocks[laid.mirrors[part.name]]
        made = (*_reduced(laid, part.name, held.gradients, once, whole), *_mirrored(laid, part.name, held.gradients))
        count = part.count * shares[part.name]
        each: Value = 0.0
        for message in made:
            each = each + (message.cost.time * message.count if message.kernel.message is not None else 0.0)
            rows.append(dataclasses.replace(message, count=message.count * count))
        compute = part.compute + bare_of(laid, part)
        line.append((count, compute, each))
        computed = computed + count * compute
        if part.name == last:
            for message in (*_reduced(laid, "shared", shared[0], once, whole), *_mirrored(laid, "shared", shared[0])):
                if message.kernel.message is not None:
                    line.append((1.0, 0.0, message.cost.time * message.count))
                rows.append(message)
    packs = [row for row in rows if row.kernel.message is None]
    rows = [row for row in rows if row.kernel.message is not None]
    sent: Value = 0.0
    for row in rows:
        sent = sent + row.cost.time * row.count
    wire = laid.wires["gradients"]
    if wire.lag:  # beneath all computing until they are used, of every step between two of them
        bare = maximum(sent - wire.lag * _computing(laid, parts, shares), 0.0)
    elif "gradients" in laid.overlap and not np.any(np.asarray(wire.period) > 1):
        bare = maximum(behind(line) - computed, 0.0)
    elif "gradients" in laid.overlap:  # what is sent once in a while is the weights, after the last step
        bare = where(np.asarray(wire.period) > 1, sent, maximum(behind(line) - computed, 0.0))
    else:
        bare = sent
    share = bare / some(sent)
    rows = [dataclasses.replace(row, exposed=row.cost.time * row.count * share) for row in rows]
    rows += [dataclasses.replace(row, exposed=row.cost.time * row.count) for row in packs]
    return [*rows, *_handed_round(laid, parts, shares, shared[1]), *_tied(laid, shares)]


def _computing(laid: Laid, parts: Sequence[Part], shares: Shares) -> Value:
    """Seconds the rank computes in a step, all micro-batches."""
    over: Value = 0.0
    for part in parts:
        if part.phase != "optimizer":
            over = over + laid.micro * part.count * shares[part.name] * part.compute
    return over


def _reduced(laid: Laid, name: str, sizes: tuple[Value, Value], once: Value, whole: Value) -> tuple[PricedKernel, ...]:
    """A block's gradients: summed over all copies where every rank holds the whole, else over shards and between them."""
    made: list[PricedKernel] = []
    if np.any(once * whole):
        for sort, size, ranks, stride in zip(("", ".experts"), sizes, laid.copies, laid.strides, strict=True):
            if np.any(np.asarray(size) > 0):
                label, spans = f"{name}.reduce_gradients{sort}", ((ranks, stride),)
                made += carried(laid, label, "all_reduce", size, spans, once * whole, "backward")
    part = once * (1.0 - whole)
    if np.any(part):
        made += over_shards(laid, f"{name}.reduce_gradients", "reduce_scatter", sizes, part, "backward")
        made += between_shards(laid, f"{name}.reduce_shards", sizes, part, "backward")
    return tuple(made)


def _mirrored(laid: Laid, name: str, sizes: tuple[Value, Value]) -> tuple[PricedKernel, ...]:
    """A schedule that runs both ways holds every stage twice, on ranks r and p − 1 − r, which sum their gradients (arXiv
    2107.06925 §3.2); the pair farthest apart is priced."""
    p = laid.parallel
    if FAMILIES[parse(laid.training.schedule)[0]].copies == 1 or not np.any(np.asarray(p.pp) > 1):
        return ()
    pair = plain(where(np.asarray(p.pp) > 1, 2.0, 1.0))
    spans = ((pair, p.tp * p.cp * p.dp * maximum(p.pp - 1, 1)),)
    size = sizes[0] + sizes[1]
    return (along(laid, f"{name}.reduce_copies", "all_reduce", "pp", size, spans, 1.0, "backward"),)


def _shared_bytes(laid: Laid, shares: Shares) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    """Bytes of gradients and weights of shared tensors on the rank, dense and experts'."""
    gradients: list[Value] = [0.0, 0.0]
    weights: list[Value] = [0.0, 0.0]
    for users, held in laid.holdings.shared:
        here = laid.cut.holds(users, shares)
        for i in (0, 1):
            gradients[i] = gradients[i] + here * held.gradients[i]
            weights[i] = weights[i] + here * held.weights[i]
    return (gradients[0], gradients[1]), (weights[0], weights[1])


def _handed_round(laid: Laid, parts: Sequence[Part], shares: Shares, shared: tuple[Value, Value]) -> list[PricedKernel]:
    """New weights gathered from the ranks that updated them; beside the next forward pass where the stack does so."""
    zero = np.asarray(laid.parallel.zero)
    after = plain(where((zero == 1) | (zero == 2), 1.0, 0.0))
    if not np.any(after):
        return []
    rows: list[PricedKernel] = []
    over: Value = 0.0
    first: Value = 0.0
    for part in parts:
        if part.phase != "forward":
            continue
        count = part.count * shares[part.name]
        over = over + count * part.compute
        made = over_shards(
            laid,
            f"{part.name}.gather_weights",
            "all_gather",
            laid.holdings.blocks[part.name].weights,
            after,
            "optimizer",
        )
        for message in made:
            first = maximum(first, message.cost.time * message.count * where(np.asarray(count) > 0, 1.0, 0.0))
            rows.append(dataclasses.replace(message, count=message.count * count))
    rows += over_shards(laid, "shared.gather_weights", "all_gather", shared, after, "optimizer")
    sent: Value = 0.0
    for row in rows:
        sent = sent + row.cost.time * row.count
    bare = (
        maximum(sent - over, first)
        if "weights" in laid.overlap and laid.stack.attrs.get("gather_ahead", False)
        else sent
    )
    share = bare / some(sent)
    return [dataclasses.replace(row, exposed=row.cost.time * row.count * share) for row in rows]


def _tied(laid: Laid, shares: Shares) -> list[PricedKernel]:
    """A table that the first and the last stage both hold: they sum its gradients (Megatron-LM's embedding group)."""
    p = laid.parallel
    size: Value = 0.0
    if laid.cut.folded or laid.cut.ends_dealt:  # both ends lie on one rank, or every rank has its part of both
        return []
    first = laid.cut.piece(0)
    for users, held in laid.holdings.shared:
        both = [u for u in users if u in first]
        apart = plain(where(np.asarray(p.pp) > 1, 1.0, 0.0)) if len(both) > 1 else 0.0
        size = size + apart * (held.gradients[0] + held.gradients[1])
    if not np.any(size):
        return []
    stride = p.tp * p.cp * p.dp * maximum(p.pp - 1, 1)
    ranks = plain(where(np.asarray(p.pp) > 1, 2.0, 1.0))
    row = along(laid, "tied.reduce_gradients", "all_reduce", "pp", size, ((ranks, stride),), 1.0, "backward")
    return [dataclasses.replace(row, exposed=row.cost.time * row.count)]


def updated(laid: Laid, parts: Sequence[Part], shares: Shares) -> list[PricedKernel]:
    """The host's update: gradients out behind the last backward pass, the update, weights back."""
    way = laid.outside
    if way is None or "optimizer" not in way.where:
        return []
    sums: list[list[Value]] = [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    keys = ("weights", "gradients", "parameters")
    for name, held in laid.holdings.blocks.items():
        count = laid.holdings.counts[name] * shares[name]
        for row, key in zip(sums, keys, strict=True):
            for i in (0, 1):
                row[i] = row[i] + count * getattr(held, key)[i]
    for users, held in laid.holdings.shared:
        for row, key in zip(sums, keys, strict=True):
            for i in (0, 1):
                row[i] = row[i] + laid.cut.holds(users, shares) * getattr(held, key)[i]
    weights, gradients = (shard_of(laid, (row[0], row[1]), 1) for row in sums[:2])
    states = shard_of(laid, (sums[2][0] * laid.holdings.states[0], sums[2][1] * laid.holdings.states[1]), 1)
    here = laid.training.update_here
    pace = transfers_of(laid.stack.attrs).update
    rows = [way.update(states, weights + gradients, laid.machine, laid.point, here, pace)]
    weights, gradients = weights * (1 - here), gradients * (1 - here)  # what crosses for the host's part
    if "weights" not in way.where:
        rows.append(
            way.move("optimizer.load_weights", "optimizer", weights, 0.0, 1.0, "optimizer", laid.machine, laid.point)
        )
    over: Value = 0.0
    for part in parts:
        if part.phase == "backward":
            over = over + part.count * shares[part.name] * part.compute
    cover = over if "update" in laid.overlap else 0.0  # layer by layer, as gradients arrive
    rows = [dataclasses.replace(row, exposed=maximum(row.cost.time * row.count - cover, 0.0)) for row in rows[:1]] + [
        dataclasses.replace(row, exposed=row.cost.time * row.count) for row in rows[1:]
    ]
    if "gradients" not in way.where:
        out = way.move(
            "optimizer.store_gradients", "optimizer", 0.0, gradients, 1.0, "backward", laid.machine, laid.point
        )
        bare = maximum(out.cost.time - over, 0.0) if "offload" in laid.overlap else out.cost.time
        rows.append(dataclasses.replace(out, exposed=bare))
    return rows
