"""A forward pass through pipeline stages: prompts, decode steps, the forward half of a training step.

The first micro-batch passes every stage, each further one the slowest: Σ f + (m − 1) · max f. A decode step is a cycle:
a sequence's next token waits for this one, so with m groups of sequences in flight one step of all takes
max(Σ f, m · max f). Rows are the kernels on that path. Stages that take activations of the step before (denoisers, whose steps
differ little: AsyncDiff, arXiv 2406.06911) wait for nobody: a step takes m · max f.

Legend: f seconds of one micro-batch on a stage, m micro-batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ...costs.cost import largest
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.ledger import CLASSES, Ledger
from ...lowering.shares import Holdings
from ...placement.stages import Deal
from ...scenario.scenario import Parallel
from ...schedule.serial import Passage, Timeline
from ...stacks.stack import Stack
from ..steps.evaluate import PricedKernel, StepResult
from .messages import message_of
from .rows import chosen, costs_of, plain, some


def through(
    cut: Deal, holdings: Holdings, result: StepResult, parallel: Parallel, machine: Machine, point: OperatingPoint,
    stack: Stack, *, phases: tuple[str, ...] = ("forward",),
) -> StepResult:  # fmt: skip
    """The pass over stages.

    Args:
        result: every micro-batch as one device would run it (``step.repeats`` of them).
        phases: the blocks that run; others are left out.
    """
    micro = result.step.repeats
    rows = [(b, p) for b, p in zip(result.blocks, result.timeline.passages, strict=True) if b[1] in phases]
    seconds = {b[0]: (p.count * p.device + p.gap) / micro for b, p in rows}
    send = _send(cut, holdings, parallel, machine, point, stack)
    per_stage = send.cost.time * send.count
    ranks = list(cut.some_ranks())
    loads = []
    for _, row in ranks:
        load: Value = per_stage
        for name, amount in seconds.items():
            load = load + row[name] * amount
        loads.append(load)
    at = np.argmax(np.stack(np.broadcast_arrays(*[np.asarray(x, dtype=float) for x in loads])), axis=0)
    share = {name: chosen([row[name] for _, row in ranks], at) for name in seconds}
    path: Value = per_stage * (parallel.pp - 1)
    for amount in seconds.values():
        path = path + amount
    slowest = chosen(loads, at)
    if result.step.name == "decode":
        full = plain(where(np.asarray(micro * slowest > path), 1.0, 0.0))
        times = {name: full * micro * part + (1.0 - full) for name, part in share.items()}
        sent = full * micro + (1.0 - full) * (parallel.pp - 1)
    elif parallel.wire("stages").lag:  # every stage works on what the one before it made a step ago: none waits
        times = {name: micro * part for name, part in share.items()}
        sent = micro * maximum(per_stage - (slowest - per_stage), 0.0) / some(per_stage)
    else:
        times = {name: 1.0 + (micro - 1) * part for name, part in share.items()}
        sent = (parallel.pp - 1) + (micro - 1)
    sent = sent * plain(where(np.asarray(parallel.pp) > 1, 1.0, 0.0))
    blocks, passages = [], []
    for (name, phase, kernels), passage in rows:
        factor = times[name] / micro
        blocks.append((name, phase, tuple(_times(k, factor) for k in kernels)))
        passages.append(Passage(passage.count * factor, passage.device, passage.gap * factor))
    blocks.append(("stages", "forward", (dataclasses.replace(send, count=send.count * sent),)))
    passages.append(Passage(sent, per_stage, 0.0))
    total: Value = 0.0
    for p in passages:
        total = total + p.count * p.device + p.gap
    least: dict[str, Value] = {}
    costs = costs_of(blocks)
    for cost, count in costs:
        for resource, busy in cost.least.items():
            least[resource] = least.get(resource, 0.0) + busy * count
    pp = parallel.pp
    return dataclasses.replace(
        result, time=total, limit=largest(least), least=least, flops=result.flops / pp, dense=result.dense / pp,
        bytes=result.bytes / pp, again=result.again / pp, blocks=tuple(blocks), costs=costs,
        timeline=Timeline(total, tuple(passages)), ledger=memory(cut, holdings, micro, stack, machine.main.capacity_bytes),
    )  # fmt: skip


def _times(kernel: PricedKernel, factor: Value) -> PricedKernel:
    shown = None if kernel.exposed is None else kernel.exposed * factor
    return dataclasses.replace(kernel, count=kernel.count * factor, exposed=shown)


def _send(
    cut: Deal, holdings: Holdings, parallel: Parallel, machine: Machine, point: OperatingPoint, stack: Stack
) -> PricedKernel:
    handed: Value = 0.0
    for name, held in holdings.blocks.items():
        if 0 <= cut.positions[name][0] < cut.layers:
            handed = maximum(handed, held.handed)
    several = np.asarray(parallel.pp) > 1
    spans = ((plain(where(several, 2.0, 1.0)), parallel.tp * parallel.cp * parallel.dp),)
    return message_of(
        "stages.send", "send_recv", ("pp",), handed, spans, plain(where(several, 1.0, 0.0)), machine=machine, point=point,
        stack=stack, phase="forward",
    )  # fmt: skip


def memory(cut: Deal, holdings: Holdings, micro: Value, stack: Stack, capacity: Value) -> Ledger:
    """The fullest rank's ledger in inference: its blocks' weights and caches, of every micro-batch."""
    best: Mapping[str, Value] = {}
    most: Value = -1.0
    for _, shares in cut.some_ranks():
        by: dict[str, Value] = dict.fromkeys(CLASSES, 0.0)
        live: Value = 0.0
        for name, held in holdings.blocks.items():
            count = holdings.counts[name] * shares[name]
            by["weights"] = by["weights"] + count * (held.weights[0] + held.weights[1])
            by["kv"] = by["kv"] + count * held.kept * micro
            live = maximum(live, where(np.asarray(count) > 0, 1.0, 0.0) * held.live)
        for users, held in holdings.shared:
            there: Value = 0.0
            for user in users:
                there = maximum(there, where(np.asarray(shares.get(user, 0.0)) > 0, 1.0, 0.0))
            by["weights"] = by["weights"] + there * (held.weights[0] + held.weights[1])
        by["activations"] = live * (1 + stack.reserve.fragmentation)
        total: Value = 0.0
        for size in by.values():
            total = total + size
        fuller = total > most
        best = {n: where(fuller, size, best[n]) for n, size in by.items()} if best else by
        most = maximum(most, total)
    reserve = stack.reserve.runtime_bytes + (1 - stack.reserve.utilization) * capacity
    return Ledger({**best, "reserve": reserve}, capacity)
