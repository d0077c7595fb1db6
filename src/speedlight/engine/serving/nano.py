"""Nano-batches: a step cut by sequences into parts whose kernels run beside each other (NanoFlow, arXiv 2408.12757).

While one part's products hold the matrix units, another part's attention streams keys and values and a third's messages are
under way. Each part reads the weights anew, so that a step of n parts is priced as n steps of 1/n of the sequences; in the
middle of a model, where every kind of kernel is at hand, a block then takes as long as its busiest resource:

    time = max( max over r of Σ over kernels of demand_r,  the kernels of one part one after the other )

A kernel demands its whole time of the resource that binds it (what it loses there it loses beside others too), and of any other
its busy seconds. Launch floors and latencies hide behind other parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..._foundation.arrays import Value, maximum, minimum, where
from ...schedule.serial import Passage, Timeline
from ...workload.workload import Step
from ..steps.evaluate import PricedKernel, StepResult


def in_parts(run: Callable[[Step], StepResult], step: Step, parts: int) -> StepResult:
    """A step in so many nano-batches; as it is where there is one part, or nothing to cut.

    Args:
        run: prices a step.
        parts: of the sequences; groups of fewer sequences than parts are cut into fractions of one (a prompt's chunks).
    """
    whole = run(step)
    if parts < 2:
        return whole
    small = dataclasses.replace(step, groups=tuple(dataclasses.replace(g, count=g.count / parts) for g in step.groups))
    return overlapped(whole, run(small), parts)


def overlapped(whole: StepResult, part: StepResult, parts: int) -> StepResult:
    """n runs of ``part`` beside each other, as one step in place of ``whole``."""
    rows, passages = [], []
    total: Value = 0.0
    for (name, phase, kernels), passage in zip(part.blocks, part.timeline.passages, strict=True):
        alone: Value = 0.0
        demand: dict[str, Value] = {}
        for k in kernels:
            seconds = k.cost.time * k.count
            alone = alone + seconds
            for resource in k.cost.busy or ("latency",):
                own = _demand(k, resource) * k.count
                demand[resource] = demand.get(resource, 0.0) + own * parts
        busiest: Value = alone
        for seconds in demand.values():
            busiest = maximum(busiest, seconds)
        share = where(alone > 0.0, busiest / maximum(alone * parts, 1e-300), 1.0)
        rows.append((name, phase, tuple(_shared(k, share, parts) for k in kernels)))
        each = busiest / maximum(passage.count, 1e-300)
        passages.append(Passage(passage.count, where(passage.count > 0.0, each, 0.0), passage.gap))
        total = total + busiest + passage.gap
    costs = tuple((k.cost, k.count) for _, _, kernels in rows for k in kernels)
    return dataclasses.replace(
        whole, time=maximum(total, whole.limit), blocks=tuple(rows), costs=costs, bytes=part.bytes * parts,
        timeline=Timeline(total, tuple(passages)),
    )  # fmt: skip


def _demand(kernel: PricedKernel, resource: str) -> Value:
    """Seconds of a resource that one instance takes: all of its time where that is what it is busiest with."""
    busy = kernel.cost.busy
    if not busy:
        return kernel.cost.time
    most: Value = 0.0
    for seconds in busy.values():
        most = maximum(most, seconds)
    own = busy.get(resource, 0.0)
    return where(own >= most, maximum(kernel.cost.time - kernel.cost.latency, own), own)


def _shared(kernel: PricedKernel, share: Value, parts: int) -> PricedKernel:
    cost = kernel.cost
    time = cost.time * share
    return dataclasses.replace(
        kernel, cost=dataclasses.replace(cost, time=time, limit=minimum(cost.limit, time)), count=kernel.count * parts
    )
