"""One step of a plan on a machine: every kernel priced, the timeline, the totals. Pure arithmetic, arrays or floats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value, shape_of
from .._foundation.folding import Folded, at_points
from ..costs.calibrated import calibrate
from ..costs.cost import Conditions, Cost, largest
from ..costs.price import least_of, price
from ..costs.training import issued, trained
from ..hardware.machine import Machine, OperatingPoint
from ..lowering.kernels import Kernel, KernelValues
from ..lowering.ledger import Ledger
from ..schedule.serial import Timeline, serial
from ..stacks.stack import Stack
from ..workload.workload import Step
from .folding import Folding
from .resolve import Plan


@dataclass(frozen=True, slots=True)
class PricedKernel:
    """A kernel with its cost; ``count`` instances over the whole step.

    Attributes:
        exposed: seconds of all instances that lengthen the step, where they run beside others; None for all of them.
    """

    kernel: Kernel
    cost: Cost
    count: Value
    exposed: Value | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds a rank waits for others: a row of the answer.

    Attributes:
        name: what it waits in (``pipeline``).
        bound: in CONTRACT's words (``bubble``).
    """

    name: str
    bound: str
    seconds: Value


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step's timeline and sums.

    Attributes:
        time: seconds, gaps included.
        limit: speed of light: the busiest resource's least seconds.
        least: least seconds by resource, all kernels together.
        flops, dense, bytes: of one rank.
        blocks: per block its priced kernels that run, in order.
        costs: every cost once, with how many kernels of the step have it.
        gap: seconds the device waits for the host, per block.
        again: matrix FLOPs of recomputation, which count for HFU and not for MFU.
        waits: what the rank waits for others; part of ``time``.
    """

    step: Step
    time: Value
    limit: Value
    least: Mapping[str, Value]
    flops: Value
    dense: Value
    bytes: Value
    blocks: tuple[tuple[str, str, tuple[PricedKernel, ...]], ...]
    costs: tuple[tuple[Cost, Value], ...]
    timeline: Timeline
    ledger: Ledger
    again: Value = 0.0
    waits: tuple[Wait, ...] = ()


def bindings(step: Step, dims: Mapping[str, Value], symbols: Mapping[str, Value]) -> dict[str, Value]:
    """Everything a graph's expressions may name, as floats or arrays."""
    env = {**symbols, **dims, **step.env()}
    return {name: float(value) if isinstance(value, int) else value for name, value in env.items()}


def evaluate_step(
    plan: Plan,
    step: Step,
    machine: Machine,
    point: OperatingPoint,
    stack: Stack,
    dims: Mapping[str, Value],
    symbols: Mapping[str, Value],
    throttle: Value = 1.0,
) -> StepResult:
    """Price every kernel of the step and lay them on the serial timeline."""
    env, groups, ledger = sizes_of(plan, step, machine, stack, dims, symbols)
    conditions = Conditions("in-model", ledger.by_class["weights"], stack.device_latency, throttle, step.name)
    issue = 0.0 if step.name in stack.host.graphs else stack.host.launch_s
    if step.name == "train":
        issue = issued(issue, stack.library, machine)
    laid: list[tuple[Value, list[tuple[Value, Value]]]] = []
    rows: list[tuple[str, str, tuple[PricedKernel, ...]]] = []
    folding = Folding(env, groups)
    rigid = folding.possible and not shape_of((machine, point, conditions))  # a walk through the machine: only if used
    sized = folding.possible and not shape_of(_sizes(machine))  # what depends on sizes is the same at equal points
    evaluated = plan.program.evaluate(env, groups)
    found: dict[int, tuple[Kernel, Cost]] = {}  # by sort: layers hold several kernels that cost the same
    often: dict[int, Value] = {}
    program = plan.program
    for block, needs, sorts, (count, values) in zip(
        program.blocks, program.needs, program.sorts, evaluated, strict=True
    ):
        instances = count if block.phase == "optimizer" else count * step.repeats
        line: list[tuple[Value, Value]] = []
        priced: list[PricedKernel] = []
        for kernel, names, sort, numbers in zip(block.kernels, needs, sorts, values, strict=True):
            if _absent(numbers):
                continue
            if sort not in found:
                folded = folding.of(names | dims.keys()) if sized else None
                found[sort] = kernel, _cost(kernel, numbers, machine, point, conditions, rigid, folded)
            cost = found[sort][1]
            times = instances * numbers.count
            often[sort] = often[sort] + times if sort in often else times
            each = issue if kernel.host_s is None or not issue else kernel.host_s
            line.append((cost.time * numbers.count, each * numbers.launches * numbers.count))
            priced.append(PricedKernel(kernel, cost, times))
        laid.append((instances, line))
        rows.append((block.name, block.phase, tuple(priced)))
    least: dict[str, Value] = {}
    flops: Value = 0.0
    dense: Value = 0.0
    moved: Value = 0.0
    again: Value = 0.0
    for sort, (kernel, cost) in found.items():
        times = often[sort]
        for resource, seconds in cost.least.items():
            least[resource] = least.get(resource, 0.0) + seconds * times
        moved = moved + cost.bytes * times
        if kernel.attrs.get("recompute"):
            again = again + cost.flops * times
        else:
            flops, dense = flops + cost.flops * times, dense + cost.dense * times
    timeline = serial(laid, stack.host.step_s, inline=stack.host.inline)
    costs = tuple((cost, often[sort]) for sort, (_, cost) in found.items())
    return StepResult(
        step, timeline.time, largest(least), least, flops, dense, moved, tuple(rows), costs, timeline, ledger, again
    )


def least_of_kernels(
    plan: Plan, step: Step, machine: Machine, point: OperatingPoint, stack: Stack, dims: Mapping[str, Value],
    symbols: Mapping[str, Value],
) -> Iterator[tuple[Kernel, Mapping[str, Value], Value]]:  # fmt: skip
    """Kernels of a step, one of each sort, with its least seconds by resource and how often the sort runs: for who asks
    what binds at the limit."""
    env, groups, ledger = sizes_of(plan, step, machine, stack, dims, symbols)
    conditions = Conditions("in-model", ledger.by_class["weights"], stack.device_latency, step=step.name)
    for kernel, numbers, times in kernels_by_sort(plan, step, env, groups):
        yield kernel, least_of(kernel, numbers, machine, point, conditions), times


def kernels_by_sort(
    plan: Plan, step: Step, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]
) -> Iterator[tuple[Kernel, KernelValues, Value]]:
    """One kernel of each sort that runs (those that always cost the same are of one), its numbers, and how often it does."""
    program = plan.program
    found: dict[int, tuple[Kernel, KernelValues]] = {}
    often: dict[int, Value] = {}
    for block, sorts, (count, values) in zip(program.blocks, program.sorts, program.evaluate(env, groups), strict=True):
        instances = count if block.phase == "optimizer" else count * step.repeats
        for kernel, sort, numbers in zip(block.kernels, sorts, values, strict=True):
            if not _absent(numbers):
                times = instances * numbers.count
                often[sort] = often[sort] + times if sort in often else times
                found.setdefault(sort, (kernel, numbers))
    for sort, (kernel, numbers) in found.items():
        yield kernel, numbers, often[sort]


def _absent(numbers: KernelValues) -> bool:
    """Whether it is no kernel of this question (a loss in decoding, a tower without pictures): it costs nothing, and may
    have no sizes either."""
    count = numbers.count
    return not count.any() if isinstance(count, np.ndarray) else not count


def sizes_of(
    plan: Plan, step: Step, machine: Machine, stack: Stack, dims: Mapping[str, Value], symbols: Mapping[str, Value]
) -> tuple[dict[str, Value], list[dict[str, Value]], Ledger]:
    """The step's symbols, its groups' and what it keeps in memory."""
    env = bindings(step, dims, symbols)
    groups = [{k: float(v) if isinstance(v, int) else v for k, v in g.env().items()} for g in step.groups]
    return env, groups, plan.ledger.evaluate(env, groups, machine.main.capacity_bytes, stack)


def _sizes(machine: Machine) -> tuple[Value, ...]:
    """The machine's figures that are no rates."""
    tiers = [x for t in machine.tiers for x in (t.capacity_bytes, t.granule_bytes)]
    return (*tiers, *(engine.units for engine in machine.engines))


def _cost(
    kernel: Kernel, numbers: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, rigid: bool,
    folded: Folded | None,
) -> Cost:  # fmt: skip
    """One kernel's cost; equal points once where only sizes differ (``rigid``), their fits once where rates do too."""
    if folded is not None and rigid:
        points, sorts = folded
        few = at_points(numbers, points, sorts.size)
        whole: Cost = at_points(_cost(kernel, few, machine, point, conditions, rigid, None), sorts, points.size)
        return whole
    cost = price(kernel, numbers, machine, point, conditions, folded)
    cost = calibrate(kernel, numbers, machine, point, conditions, cost, folded)
    return trained(kernel, machine, cost) if conditions.step == "train" else cost
