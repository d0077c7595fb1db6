"""A step and its forward pass, with intervals.

A stack may say two things of whole programs under ``attrs``:

* ``whole``: by how well their kernels are known, logs of the 10 % and 90 % quantiles of measured over predicted, which take the
  place of the kernels' own interval (kernels err together, and what stands between them errs too);
* ``allocator``: from which share of the memory on (``full``) it gives back what it holds and maps it again, so that every
  activation of the forward pass is paid for at ``remap`` bytes a second.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...lowering.ledger import Ledger
from ...scenario.scenario import Scenario
from ...schedule.serial import Timeline
from ..answers.summary import layer
from ..questions.resolve import planned, resolve
from ..questions.sizes import check_sizes
from ..training.layout import check_layout
from ..training.step import forward_pass, laid_out
from . import intervals
from .evaluate import StepResult
from .memory import memory_of
from .phase import Parts, free_symbols, run_phase
from .power import clock_under_limit


@dataclass(frozen=True, slots=True)
class Spell:
    """Seconds of a step or one of its passes: expected, least, and the ends of the 80 % interval."""

    time: float
    limit: float
    low: float
    high: float

    def within(self, ends: Sequence[float]) -> Spell:
        """With another interval: logs of the factors to its ends."""
        low, high = (self.time * math.exp(end) for end in (min(ends[0], 0.0), max(ends[1], 0.0)))
        return dataclasses.replace(self, low=max(low, min(self.limit, self.time)), high=high)

    def longer(self, extra: float) -> Spell:
        """With seconds added that nothing shortens."""
        return Spell(self.time + extra, self.limit, self.low + extra, self.high + extra)


@dataclass(frozen=True, slots=True)
class Passes:
    """A step and its forward pass.

    Attributes:
        fits: whether the fullest device holds it.
        layer: what the times rest on.
        depth: how well most of its kernels' time is known (``known``, ``relative``, ``stranger``; "" by no fit).
    """

    step: Spell
    forward: Spell
    fits: bool
    layer: str
    depth: str


def passes(scenario: Scenario, without: str = "") -> Passes:
    """One step of a scenario without arrays.

    Args:
        without: a device whose rows nothing may rest on: what the stack's ``allocator`` was read from is left out for it.

    Raises:
        BadInput: for layouts that cannot be (:func:`..training.layout.check_layout`).
        As :func:`..predict.predict` otherwise.
    """
    workload = scenario.program.workload
    resolved = resolve(scenario)
    check_sizes(workload, resolved.graph)
    check_layout(scenario.program, resolved.graph)
    made, dims = planned(resolved)
    parts = run_phase(resolved, made, dims)
    result = parts.results[0][0]
    step = spell(result)
    if workload.phase != "train":
        forward = step
    elif laid_out(resolved):
        throttle = clock_under_limit(resolved.machine, scenario.point)
        symbols = free_symbols(resolved.graph, workload)
        forward = spell(forward_pass(resolved, made, dims, resolved.machine, symbols, throttle))
    else:
        forward = spell(only_forward(result))
    ledger = memory_of(parts, resolved, made, dims)
    allocator = resolved.stack.attrs.get("allocator", {})
    if workload.phase == "train" and allocator and without not in allocator.get("seen_on", ()):
        lost = _remapped(ledger, allocator)
        step, forward = step.longer(lost), forward.longer(lost)
    depth = depth_of(result)
    ends = resolved.stack.attrs.get("whole", {}).get(depth)
    if ends is not None:
        step, forward = step.within(ends), forward.within(ends)
    return Passes(step, forward, bool(ledger.fits), layer(parts, resolved.stack), depth)


def depth_of(result: StepResult) -> str:
    """How well the fit knows the kernels that most of the time goes to."""
    shares: dict[str, float] = {}
    for _, _, kernels in result.blocks:
        for priced in kernels:
            depth = priced.cost.error_key[2]
            shares[depth] = shares.get(depth, 0.0) + float(priced.cost.time * priced.count)
    return max(shares, key=lambda name: shares[name], default="")


def _remapped(ledger: Ledger, allocator: Mapping[str, float]) -> float:
    """Seconds a full device spends on mapping memory for the forward pass's results."""
    if float(ledger.total) < allocator["full"] * float(ledger.capacity):
        return 0.0
    return float(ledger.by_class["activations"]) / allocator["remap"]


def spell(result: StepResult) -> Spell:
    """Seconds and interval of a step."""
    time, limit = float(result.time), float(result.limit)
    time = max(time, limit)
    low, high = intervals.interval(Parts(((result, 1.0, False),)), time, limit)
    return Spell(time, limit, float(low), float(high))


def only_forward(result: StepResult) -> StepResult:
    """The forward pass of a training step on one device."""
    chosen = [i for i, (_, phase, _) in enumerate(result.blocks) if phase == "forward"]
    passages = tuple(result.timeline.passages[i] for i in chosen)
    time = sum(p.count * p.device + p.gap for p in passages)
    blocks = tuple(result.blocks[i] for i in chosen)
    least: dict[str, float] = {}
    for _, _, kernels in blocks:
        for priced in kernels:
            for resource, seconds in priced.cost.least.items():
                least[resource] = least.get(resource, 0.0) + float(seconds * priced.count)
    costs = tuple((k.cost, k.count) for _, _, kernels in blocks for k in kernels)
    return dataclasses.replace(
        result, time=time, limit=max(least.values(), default=0.0), least=least, blocks=blocks, costs=costs,
        timeline=Timeline(time, passages),
    )  # fmt: skip
