"""A training step on pipeline stages: the rank that computes longest, the schedule's run, what stages send one another.

With ``attrs.split_sends`` the tensor-parallel ranks, which all hold the same activations, send a share each and gather the whole behind
the network (arXiv 2104.04473 §4.1, "scatter/gather").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ...placement.stages import Shares
from ...schedule.pipeline import PipelineRun, StageClass
from ..steps.evaluate import PricedKernel
from .laid import Laid
from .messages import packing_of
from .over_ranks import along
from .rows import chosen, plain, some


def slowest(laid: Laid, seconds: Mapping[str, Value]) -> Shares:
    """What the rank that computes longest holds."""
    ranks = list(laid.cut.some_ranks())
    loads = []
    for _, row in ranks:
        load: Value = 0.0
        for name, amount in seconds.items():
            load = load + row[name] * amount
        loads.append(load)
    spread = np.stack(np.broadcast_arrays(*[np.asarray(x, dtype=float) for x in loads]))
    at = np.argmax(spread, axis=0)
    names = ranks[0][1].keys()
    return {name: chosen([row[name] for _, row in ranks], at) for name in names}


def run_of(laid: Laid, seconds: Mapping[str, Value], weight: Mapping[str, Value]) -> PipelineRun:
    """The schedule over classes of ranks.

    Args:
        seconds: of one micro-batch through a block's instances, all of the replica's.
        weight: of them for gradients of weights, which some schedules run later.
    """
    classes = []
    for count, row in laid.cut.classes():
        forward: Value = 0.0
        backward: Value = 0.0
        later: Value = 0.0
        shared: Value = 0.0
        for message in exchange(laid):
            shared = shared + message.cost.time * message.count / laid.micro
        for name, amount in seconds.items():
            if laid.cut.ends_dealt and laid.cut.is_end(name):
                shared = shared + row[name] * amount
            elif name in laid.mirrors:
                backward, later = backward + row[name] * (amount - weight[name]), later + row[name] * weight[name]
            else:
                forward = forward + row[name] * amount
        classes.append(StageClass(count, forward, backward, later, shared))
    seconds_each: Value = 0.0
    for message in _send(laid):
        seconds_each = seconds_each + message.cost.time * message.count
    return PipelineRun(
        tuple(classes), laid.micro, laid.training.schedule, laid.training.virtual, seconds_each,
        "stages" not in laid.overlap,
    )  # fmt: skip


def exchange(laid: Laid) -> list[PricedKernel]:
    """What ranks with a part of the vocabulary each tell one another for every micro-batch: the last layer's result to all, sums
    over the vocabulary (small), and the gradient of that result summed: the bytes of an all-reduce (arXiv 2411.05288 §4.1)."""
    p = laid.parallel
    if not laid.cut.ends_dealt or not np.any(np.asarray(p.pp) > 1):
        return []
    spans = ((p.pp, p.tp * p.cp * p.dp),)
    return [along(laid, "vocabulary.exchange", "all_reduce", "pp", _handed(laid), spans, laid.micro, "backward")]


def _handed(laid: Laid) -> Value:
    """Bytes of one micro-batch's activations between layers."""
    handed: Value = 0.0
    for name, held in laid.holdings.blocks.items():
        if 0 <= laid.cut.positions[name][0] < laid.cut.layers:
            handed = maximum(handed, held.handed)
    return handed


def _send(laid: Laid) -> list[PricedKernel]:
    """One micro-batch's activations from a stage to the next."""
    p = laid.parallel
    if not np.any(np.asarray(p.pp) > 1):
        return []
    handed = _handed(laid)
    stride = p.tp * p.cp * p.dp
    present = plain(where(np.asarray(p.pp) > 1, 1.0, 0.0))
    spans = ((where(np.asarray(p.pp) > 1, 2, 1), stride),)
    split = laid.stack.attrs.get("split_sends", False)
    alike = plain(where(np.asarray(p.sp) == 1, 1.0, np.asarray(p.tp, dtype=float))) if split else 1.0
    wire = laid.wires["stages"]
    sent = handed / alike * wire.share
    rows = [along(laid, "stages.send", "send_recv", "pp", sent, spans, present, "forward")]
    if np.any(np.asarray(wire.passes) > 0):
        rows.append(
            packing_of(
                "stages.pack", handed * wire.passes, present, machine=laid.machine, point=laid.point, stack=laid.stack, phase="forward",
            )
        )  # fmt: skip
    if np.any(np.asarray(alike) > 1):
        rows.append(along(laid, "stages.gather", "all_gather", "tp", handed, ((alike, 1),), present, "forward"))
    return rows


def sends(laid: Laid, exposed: Value) -> list[PricedKernel]:
    """All sends of a step, of which so many seconds show."""
    rows = _send(laid)
    sent: Value = 0.0
    for row in rows:
        sent = sent + row.cost.time * row.count
    times = 2 * laid.micro * laid.training.virtual
    return [
        dataclasses.replace(row, count=row.count * times, exposed=exposed * row.cost.time * row.count / some(sent))
        for row in rows
    ]
