"""Where a training step lies: its layout, what its ranks hold, which messages run beside computation.

A stack says under ``attrs.overlap`` which messages run beside computation: ``gradients``, ``weights`` (gathering of
shards), ``stages`` (sends between pipeline ranks), ``context`` (keys and values going round), ``offload``, ``update`` (the
host's, behind the backward pass).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, where
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.shares import Holdings
from ...placement.mesh import expert_replicas, expert_width, replicas, shard_ranks
from ...placement.stages import Deal
from ...scenario.scenario import Parallel, Wire
from ...stacks.stack import Stack
from ...workload.workload import Training
from ..offload.states import Outside, outside
from ..questions.resolve import Plan, Resolved
from .rows import plain

# What stacks do that say nothing: PyTorch's DDP and FSDP, transfers to the host on a stream of their own.
OVERLAP = ("gradients", "weights", "context", "offload")


@dataclasses.dataclass(frozen=True, slots=True)
class Laid:
    """A step on its mesh.

    Attributes:
        cut, holdings: blocks on pipeline ranks, and what they hold.
        micro: micro-batches of a replica.
        overlap: messages that run beside computation.
        wires: how gradients, weights and what goes between stages travel.
        mirrors: backward block → the block it is of.
        copies: ranks that hold the same dense weights, and the same experts.
        shards: ranks that one copy of them is divided over.
        strides: ranks between neighbours of each.
        outside: what lies on the host or on disks.
    """

    parallel: Parallel
    training: Training
    stack: Stack
    machine: Machine
    point: OperatingPoint
    cut: Deal
    holdings: Holdings
    micro: Value
    overlap: frozenset[str]
    wires: Mapping[str, Wire]
    mirrors: Mapping[str, str]
    copies: tuple[Value, Value]
    shards: tuple[Value, Value]
    strides: tuple[Value, Value]
    outside: Outside | None


def lay(resolved: Resolved, made: Plan, cut: Deal, holdings: Holdings, micro: Value, machine: Machine) -> Laid:
    """A question's step on its mesh."""
    program = resolved.scenario.program
    p, training, stack = program.parallel, program.workload.training, resolved.stack
    copies = replicas(p), expert_replicas(p)
    return Laid(
        parallel=p, training=training, stack=stack, machine=machine, point=resolved.scenario.point, cut=cut, holdings=holdings,
        micro=micro, overlap=frozenset(stack.attrs.get("overlap", OVERLAP)),
        wires={sort: p.wire(sort) for sort in ("gradients", "weights", "stages")}, mirrors=made.graph.attrs.get("mirrors", {}),
        copies=copies, shards=(shard_ranks(p, copies[0]), shard_ranks(p, copies[1])), strides=(p.tp, p.ep * expert_width(p)),
        outside=outside(training, machine),
    )  # fmt: skip


def shard_of(laid: Laid, pair: tuple[Value, Value], stage: int) -> Value:
    """Bytes of a rank's part of dense and experts' tensors that ZeRO divides from this stage on."""
    zero = np.asarray(laid.parallel.zero)
    total: Value = 0.0
    for size, ranks in zip(pair, laid.shards, strict=True):
        total = total + size / where(zero >= stage, ranks, 1.0)
    return plain(total)
