"""Blocks of a training step in one micro-batch, with the messages that run beside what they compute.

With weights sharded (ZeRO-3, FSDP) every block gathers its weights ahead and scatters its gradients behind, micro-batch by
micro-batch; keys and values go round under attention; what lies on the host is fetched and stored. What of a message lies under
computation costs nothing; the rest is exposed.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ...lowering.shares import Held
from ..steps.evaluate import PricedKernel, StepResult
from . import residents
from .laid import Laid, shard_of
from .over_ranks import between_shards, over_shards
from .rows import plain, some

WEIGHT = ("_wgrad", "bias_grad")  # endings of ops that make gradients of weights
NOTHING = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A block in one micro-batch.

    Attributes:
        name, phase, kernels: as in a step's blocks, counts of the whole replica's step.
        count: instances in one micro-batch, N.
        compute: seconds of one instance, waiting for the host included; what is hidden is left out.
        weight: of them for gradients of weights.
        gap: seconds it waits for the host, all instances of a step.
        gather, scatter: one instance's messages over shards in one micro-batch.
        hosted: its transfers to and from the host.
    """

    name: str
    phase: str
    kernels: tuple[PricedKernel, ...]
    count: Value
    compute: Value
    weight: Value
    gap: Value
    gather: tuple[PricedKernel, ...] = ()
    scatter: tuple[PricedKernel, ...] = ()
    hosted: tuple[PricedKernel, ...] = ()


def parts_of(laid: Laid, result: StepResult) -> list[Part]:
    """A replica's blocks in one micro-batch, in order.

    Args:
        result: the step of a replica as one device would run it, every micro-batch.
    """
    zero = np.asarray(laid.parallel.zero)
    sharded, scattered = plain(where(zero >= 3, 1.0, 0.0)), plain(where(zero >= 2, 1.0, 0.0))
    parts = []
    for (name, phase, kernels), passage in zip(result.blocks, result.timeline.passages, strict=True):
        if phase == "optimizer":
            parts.append(Part(name, phase, kernels, passage.count, passage.device, 0.0, passage.gap))
            continue
        count = passage.count / laid.micro
        kernels, hidden = _under_attention(laid, kernels, passage.count)
        each = passage.device - hidden + passage.gap / some(passage.count)
        weight: Value = 0.0
        for k in kernels:
            if k.kernel.fn.endswith(WEIGHT):
                weight = weight + k.cost.time * k.count / some(passage.count)
        held = laid.holdings.blocks.get(laid.mirrors.get(name, name))
        gather: tuple[PricedKernel, ...] = ()
        scatter: tuple[PricedKernel, ...] = ()
        if held is not None and np.any(sharded):
            gather = over_shards(laid, f"{name}.gather_weights", "all_gather", held.weights, sharded, phase)
        if held is not None and np.any(scattered) and phase == "backward":
            scatter = (
                *over_shards(laid, f"{name}.reduce_gradients", "reduce_scatter", held.gradients, scattered, phase),
                *between_shards(laid, f"{name}.reduce_shards", held.gradients, scattered, phase),
            )
        hosted = () if held is None else _hosted(laid, name, phase, held)
        packs = [m for m in (*gather, *scatter) if m.kernel.message is None]
        gather, scatter = (tuple(m for m in found if m.kernel.message is not None) for found in (gather, scatter))
        for pack in packs:  # of one instance in one micro-batch
            kernels = (*kernels, dataclasses.replace(pack, count=pack.count * passage.count))
            each = each + pack.cost.time * pack.count
        parts.append(Part(name, phase, kernels, count, each, weight, passage.gap, gather, scatter, hosted))
    return parts


def _hosted(laid: Laid, name: str, phase: str, held: Held) -> tuple[PricedKernel, ...]:
    """Transfers of one instance in one micro-batch."""
    way = laid.outside
    if way is None:
        return ()
    made = []

    def move(cls: str, into: Value, out: Value) -> None:
        if cls in way.where:
            label = f"{name}.{'load' if out is NOTHING else 'store'}_{cls}"
            made.append(way.move(label, cls, into, out, 1.0, phase, laid.machine, laid.point))

    ahead = phase == "forward"
    again = residents.again_share(laid.training, laid.parallel, laid.cut.layers)
    saved = again * held.saved + (1 - again) * held.saved_whole
    sizes = [shard_of(laid, pair, stage) for pair, stage in ((held.weights, 3), (held.gradients, 2))]
    inner = 0 <= laid.cut.positions[laid.mirrors.get(name, name)][0] < laid.cut.layers  # checkpoints are of layers
    move("weights", sizes[0], NOTHING)
    if inner:
        move("activations", *((NOTHING, saved) if ahead else (saved, NOTHING)))
    if not ahead:
        move("gradients", NOTHING, sizes[1])
    return tuple(made)


def _under_attention(
    laid: Laid, kernels: tuple[PricedKernel, ...], instances: Value
) -> tuple[tuple[PricedKernel, ...], Value]:
    """Keys and values that go round while attention computes: (kernels with what shows of them, seconds hidden an
    instance)."""
    if "context" not in laid.overlap:
        return kernels, 0.0
    over: Value = 0.0
    sent: Value = 0.0
    for k in kernels:
        if k.kernel.family == "attention":
            over = over + k.cost.time * k.count
        elif k.kernel.message is not None and k.kernel.message.axis == ("cp",) and k.kernel.fn == "send_recv":
            sent = sent + k.cost.time * k.count
    if not np.any(sent):
        return kernels, 0.0
    bare = maximum(sent - over, 0.0)
    share = bare / some(sent)
    shown = tuple(
        dataclasses.replace(k, exposed=k.cost.time * k.count * share)
        if k.kernel.message is not None and k.kernel.message.axis == ("cp",) and k.kernel.fn == "send_recv"
        else k
        for k in kernels
    )
    return shown, (sent - bare) / some(instances)


def seconds_of(laid: Laid, part: Part) -> Value:
    """Seconds of one micro-batch through a block's instances with its messages over shards."""
    return part.count * (part.compute + bare_of(laid, part))


def bare_of(laid: Laid, part: Part) -> Value:
    """What shows of an instance's messages over shards."""
    bare: Value = 0.0
    beside: Value = 0.0  # messages and transfers pass different links: the longer of them shows
    for found, word in (((*part.gather, *part.scatter), "weights"), (part.hosted, "offload")):
        sent: Value = 0.0
        for message in found:
            sent = sent + message.cost.time * message.count
        if word in laid.overlap:
            beside = maximum(beside, sent)
        else:
            bare = bare + sent
    return bare + maximum(beside - part.compute, 0.0) if np.any(beside) else bare
