"""A training step on many devices: the step of one replica, priced kernel by kernel, laid over stages, shards and replicas.

A pipeline rank runs its share of every block for each micro-batch; the slowest rank's kernels are the rows of the answer, and
what it waits for the others (fill, drain, uneven stages) is the bubble. Weights' gradients are reduced behind the last
micro-batch's backward pass; with weights sharded (ZeRO-3, FSDP) every block gathers its weights ahead and scatters its
gradients behind, micro-batch by micro-batch. What of a message lies under computation costs nothing; the rest is exposed.

    laid.py            where the step lies, and which messages run beside computation
    over_ranks.py      messages over the ranks that share or copy weights
    parts.py           blocks in one micro-batch, with what runs beside them
    between_stages.py  the slowest rank, the schedule, what stages send
    once_a_step.py     gradients summed, new weights handed round, the host's update

Legend: F, B seconds of one micro-batch through all instances of a block, N instances, m micro-batches, T a rank's step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, maximum
from ...costs.cost import largest
from ...hardware.machine import Machine
from ...lowering.shares import Holdings
from ...placement.stages import Deal, Shares
from ...schedule.serial import Passage, Timeline
from ..questions.resolve import Plan, Resolved
from ..steps.evaluate import StepResult, Wait
from . import residents
from .between_stages import exchange, run_of, sends, slowest
from .laid import Laid, lay
from .once_a_step import summed, updated
from .parts import Part, bare_of, parts_of, seconds_of
from .rows import costs_of, some


def needed(resolved: Resolved) -> bool:
    """Whether a training step is more than one device's, or its memory is not one device's whole."""
    p, t = resolved.scenario.program.parallel, resolved.scenario.program.workload.training
    several = any(np.any(np.asarray(x) > 1) for x in (p.dp, p.pp, p.cp, t.virtual))
    return several or bool(np.any(np.asarray(p.zero) > 0)) or bool(t.offload) or t.recompute_layers is not None


def across(
    resolved: Resolved, made: Plan, cut: Deal, holdings: Holdings, result: StepResult, machine: Machine
) -> StepResult:
    """The step of the slowest rank.

    Args:
        made, cut, holdings: the plan, its blocks on pipeline ranks, what they hold.
        result: the step of a replica as one device would run it, every micro-batch.
        machine: where; the messages' links.
    """
    laid = lay(resolved, made, cut, holdings, result.step.repeats, machine)
    parts = parts_of(laid, result)
    seconds = {part.name: seconds_of(laid, part) for part in parts if part.phase != "optimizer"}
    weight = {part.name: part.count * part.weight for part in parts}
    shares = slowest(laid, seconds)
    run = run_of(laid, seconds, weight)
    piped = run.step()
    rank: Value = 0.0
    for name, amount in seconds.items():
        rank = rank + laid.micro * shares[name] * amount
    dealt = exchange(laid)
    barriers: Value = 0.0
    for message in dealt:
        barriers = barriers + message.cost.time * message.count
    bubble = maximum(piped.time - piped.exposed_send - rank - barriers, 0.0)
    blocks, passages = _rows(laid, parts, shares)
    dealt = [dataclasses.replace(row, exposed=row.cost.time * row.count) for row in dealt]
    extra = [*sends(laid, piped.exposed_send), *dealt, *summed(laid, parts, shares), *updated(laid, parts, shares)]
    blocks += [("messages", "backward", (row,)) for row in extra]
    passages += [Passage(0.0, 0.0, 0.0) for _ in extra]
    waits = (Wait("pipeline", "bubble", bubble),)
    total: Value = 0.0
    for passage in passages:
        total = total + passage.count * passage.device + passage.gap
    for row in extra:
        total = total + row.exposed
    total = total + bubble
    stretch = 1.0 + bubble / some(rank)
    costs = costs_of(blocks, stretch)
    least: dict[str, Value] = {}
    for cost, times in costs_of(blocks, None):
        for resource, busy in cost.least.items():
            least[resource] = least.get(resource, 0.0) + busy * times
    pp = laid.parallel.pp
    ledger = residents.ledger(
        laid.cut, laid.holdings, laid.parallel, laid.training, laid.micro, laid.stack, laid.machine.main.capacity_bytes,
        laid.outside,
    )  # fmt: skip
    return dataclasses.replace(
        result, time=total, limit=largest(least), least=least, flops=result.flops / pp, dense=result.dense / pp,
        bytes=result.bytes / pp, again=result.again / pp, blocks=tuple(blocks), costs=costs,
        timeline=Timeline(total, tuple(passages)), ledger=ledger, waits=waits, run=run,
    )  # fmt: skip


def _rows(laid: Laid, parts: Sequence[Part], shares: Shares) -> tuple[list[Any], list[Passage]]:
    """The rank's blocks and passages, messages over shards among them."""
    blocks: list[Any] = []
    passages: list[Passage] = []
    for part in parts:
        if part.phase == "optimizer":
            if laid.outside is None or "optimizer" not in laid.outside.where:
                blocks.append((part.name, part.phase, part.kernels))
                passages.append(Passage(part.count, part.compute, part.gap))
            continue
        share = shares[part.name]
        times = laid.micro * part.count * share
        rows = [
            dataclasses.replace(k, count=k.count * share, exposed=None if k.exposed is None else k.exposed * share)
            for k in part.kernels
        ]
        bare = bare_of(laid, part)
        sent: Value = 0.0
        for message in (*part.gather, *part.scatter, *part.hosted):
            sent = sent + message.cost.time * message.count
        for message in (*part.gather, *part.scatter, *part.hosted):
            mine = message.cost.time * message.count / some(sent) * bare
            rows.append(dataclasses.replace(message, count=message.count * times, exposed=mine * times))
        blocks.append((part.name, part.phase, tuple(rows)))
        device = part.compute - part.gap / some(laid.micro * part.count) + bare
        passages.append(Passage(times, device, part.gap * share))
    return blocks, passages
