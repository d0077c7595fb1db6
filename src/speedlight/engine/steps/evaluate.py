"""One step of a plan on a machine: every kernel priced, the timeline, the totals. Pure arithmetic, arrays or floats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, minimum, shape_of
from ..._foundation.folding import Folded, at_points
from ...costs.calibrated import calibrate
from ...costs.cost import Conditions, Cost, bound_names, largest
from ...costs.families.module_here import dispatch
from ...costs.price import least_of, price
from ...costs.training import issued, trained
from ...graph.rewrite.expand import LIBRARY
from ...graph.rewrite.uneven_experts import UNEVEN
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues, Numbers, Program, Slots
from ...lowering.ledger import Ledger
from ...scenario.scenario import Wire
from ...schedule.pipeline import PipelineRun
from ...schedule.regions import region
from ...schedule.serial import Timeline, serial
from ...stacks.stack import Stack
from ...workload.workload import Step
from ..questions.resolve import Plan
from ..training.overlapped import NO_WIRES, Piece, halved, late, show
from ..training.rows import costs_of
from .expert_ranks import bound, of_all
from .folding import Folding
from .together import priced


@dataclass(frozen=True, slots=True)
class PricedKernel:
    """A kernel with its cost; ``count`` instances over the whole step.

    Attributes:
        starts: instances in one instance of its block.
        issue_s: seconds of the host for those.
        exposed: seconds of all instances that lengthen the step, where they run beside others; None for all of them.
    """

    kernel: Kernel
    cost: Cost
    count: Value
    starts: Value = 1.0
    issue_s: Value = 0.0
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
        run: passes of a step that is laid over several devices.
        names: bounds by index of the machine it ran on, where that may be another than the question's; ``place`` is its id.
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
    run: PipelineRun | None = None
    names: tuple[str, ...] = ()
    place: str = ""


def bindings(step: Step, dims: Mapping[str, Value], symbols: Mapping[str, Value]) -> dict[str, Value]:
    """Everything a graph's expressions may name, as floats or arrays."""
    env = {**symbols, **dims, **step.env()}
    return bound({name: float(value) if isinstance(value, int) else value for name, value in env.items()})


def evaluate_step(
    plan: Plan,
    step: Step,
    machine: Machine,
    point: OperatingPoint,
    stack: Stack,
    dims: Mapping[str, Value],
    symbols: Mapping[str, Value],
    throttle: Value = 1.0,
    wires: Mapping[str, Wire] = NO_WIRES,
) -> StepResult:
    """Price every kernel of the step and lay them on the serial timeline.

    Args:
        wires: sorts of messages that travel beside computation (:func:`..training.overlapped.overlapping`).
    """
    env, groups, ledger = sizes_of(plan, step, machine, stack, dims, symbols)
    whole, step = step, halved(step, wires) if wires else step
    if step is not whole:  # two passes of half the tokens each; what is kept is the whole step's
        env, groups, _ = sizes_of(plan, step, machine, stack, dims, symbols)
    conditions = Conditions("in-model", ledger.by_class["weights"], stack.device_latency, throttle, step.sort)
    captured = step.name in stack.host.graphs or machine.execution == "spatial"
    issue = 0.0 if captured else dispatch(stack.library, stack.host.launch_s, machine, step.name)
    if step.name == "train":
        issue = issued(issue, stack.library, machine)
    folding = Folding(env, groups)
    rigid = folding.possible and not shape_of((machine, point, conditions))  # a walk through the machine: only if used
    sized = folding.possible and not shape_of(_sizes(machine))  # what depends on sizes is the same at equal points
    program = plan.program
    numbers = program.run(env, groups)
    cells = numbers.cells
    blocks = _present(program, cells, step)
    present = _by_sort(blocks)
    chosen = {sort: (kernel, at) for sort, (kernel, at, _) in present.items()}
    together = priced(program, numbers, chosen, machine, point, conditions)
    found: dict[int, tuple[Kernel, Cost]] = {}
    for sort, (kernel, at) in chosen.items():
        if sort in together:
            cost = together[sort]
        else:
            folded = folding.of(program.needs(kernel) | dims.keys()) if sized else None
            cost = _cost(kernel, numbers.of(at), machine, point, conditions, rigid, folded)
        found[sort] = kernel, trained(kernel, machine, cost) if conditions.step == "train" else cost
    laid: list[tuple[Value, list[tuple[Value, Value]]]] = []
    rows: list[tuple[str, str, tuple[PricedKernel, ...]]] = []
    for block, (instances, here) in zip(program.blocks, blocks, strict=True):
        line: list[tuple[Value, Value]] = []
        laid_out: list[PricedKernel] = []
        for kernel, at, sort, times in here:
            count, each = cells[at.instances], issue if kernel.host_s is None or not issue else kernel.host_s
            issuing = each * cells[at.launches] * count
            line.append((found[sort][1].time * count, issuing))
            laid_out.append(PricedKernel(kernel, found[sort][1], times, count, issuing))
        if machine.execution == "spatial":
            laid_out = _as_region(laid_out, machine, instances)
            line = [(p.cost.time * p.starts, 0.0) for p in laid_out]
        laid.append((instances, line))
        rows.append((block.name, block.phase, tuple(laid_out)))
    if wires and machine.execution != "spatial":
        turns = 2.0 if step.name == "train" else step.repeats / whole.repeats
        rows, laid = _overlapped(rows, laid, wires, turns)
    least: dict[str, Value] = {}
    flops: Value = 0.0
    dense: Value = 0.0
    moved: Value = 0.0
    again: Value = 0.0
    for sort, (kernel, cost) in found.items():
        times = present[sort][2]
        for resource, seconds in cost.least.items() if not kernel.attrs.get(LIBRARY) else ():
            least[resource] = least.get(resource, 0.0) + seconds * times
        if UNEVEN in kernel.attrs:  # priced at the busiest rank's rows; all ranks together do what the mean one does
            times = times * of_all(env, kernel.attrs[UNEVEN])
        moved = moved + cost.bytes * times
        if kernel.attrs.get("recompute"):
            again = again + cost.flops * times
        else:
            flops, dense = flops + cost.flops * times, dense + cost.dense * times
    timeline = serial(laid, stack.host.step_s, inline=stack.host.inline)
    if wires and machine.execution != "spatial":
        costs = costs_of(rows, 1.0)
    elif machine.execution == "spatial":  # one sort of kernel takes its part of regions that differ
        costs = tuple((k.cost, k.count) for _, _, kernels in rows for k in kernels)
    else:
        costs = tuple((cost, present[sort][2]) for sort, (_, cost) in found.items())
    return StepResult(
        step,
        timeline.time,
        largest(least),
        least,
        flops,
        dense,
        moved,
        tuple(rows),
        costs,
        timeline,
        ledger,
        again,
        names=bound_names(machine),
        place=machine.id,
    )


def _overlapped(
    rows: Sequence[tuple[str, str, tuple[PricedKernel, ...]]], laid: Sequence[tuple[Value, list[tuple[Value, Value]]]],
    wires: Mapping[str, Wire], turns: Value,
) -> tuple[list[tuple[str, str, tuple[PricedKernel, ...]]], list[tuple[Value, list[tuple[Value, Value]]]]]:  # fmt: skip
    """Blocks and their lines with what shows of messages that travel beside computation."""
    every: list[tuple[Value, list[Piece]]] = []
    for (instances, _), (_, phase, kernels) in zip(laid, rows, strict=True):
        pieces = []
        for k in kernels:
            message = k.kernel.message
            axis, collective = ((), "") if message is None else (message.axis, message.collective)
            pieces.append(Piece(k.kernel.kind, axis, collective, k.cost.time * k.starts))
        if phase != "optimizer":
            show(pieces, wires, turns)
        every.append((instances, pieces))
    late(every, wires)
    shown: list[tuple[str, str, tuple[PricedKernel, ...]]] = []
    lines: list[tuple[Value, list[tuple[Value, Value]]]] = []
    for (instances, pieces), (name, phase, kernels) in zip(every, rows, strict=True):
        mine = tuple(
            dataclasses.replace(k, exposed=piece.shows * instances) if piece.carries in wires else k
            for k, piece in zip(kernels, pieces, strict=True)
        )
        shown.append((name, phase, mine))
        lines.append((instances, [(p.shows, k.issue_s) for p, k in zip(pieces, kernels, strict=True)]))
    return shown, lines


def _as_region(kernels: Sequence[PricedKernel], machine: Machine, instances: Value) -> list[PricedKernel]:
    """A block's kernels side by side on the chip, each with its part of the region's time.

    What others do meanwhile shortens an op's part below its own limit; the region's limit is that of its slowest resource.
    """
    ops = [(p.cost.busy, p.cost.latency, p.starts) for p in kernels]
    times = region(ops, machine.engine.launch_latency_s, instances)
    return [
        dataclasses.replace(p, cost=dataclasses.replace(p.cost, time=time, limit=minimum(p.cost.limit, time)))
        for p, time in zip(kernels, times, strict=True)
    ]


def least_of_kernels(
    plan: Plan, step: Step, machine: Machine, point: OperatingPoint, stack: Stack, dims: Mapping[str, Value],
    symbols: Mapping[str, Value],
) -> Iterator[tuple[Kernel, Mapping[str, Value], Value]]:  # fmt: skip
    """Kernels of a step, one of each sort, with its least seconds by resource and how often the sort runs: for who asks
    what binds at the limit."""
    env, groups, ledger = sizes_of(plan, step, machine, stack, dims, symbols)
    conditions = Conditions("in-model", ledger.by_class["weights"], stack.device_latency, step=step.sort)
    for kernel, numbers, times in kernels_by_sort(plan, step, env, groups):
        yield kernel, least_of(kernel, numbers, machine, point, conditions), times


def kernels_by_sort(
    plan: Plan, step: Step, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]
) -> Iterator[tuple[Kernel, KernelValues, Value]]:
    """One kernel of each sort that runs (those that always cost the same are of one), its numbers, and how often it does."""
    program = plan.program
    numbers = program.run(env, groups)
    for kernel, at, times in present_sorts(program, numbers, step).values():
        yield kernel, numbers.of(at), times


def present_sorts(program: Program, numbers: Numbers, step: Step) -> dict[int, tuple[Kernel, Slots, Value]]:
    """By sort that runs: a kernel of it, where its numbers stand, and how often it does."""
    return _by_sort(_present(program, numbers.cells, step))


# Per block its instances, and of each kernel that runs: where its numbers stand, its sort, and how often it runs.
Present = list[tuple[Value, list[tuple[Kernel, Slots, int, Value]]]]


def _present(program: Program, cells: Sequence[Value], step: Step) -> Present:
    found: Present = []
    for block, place, slots, sorts in zip(program.blocks, program.counts, program.slots, program.sorts, strict=True):
        instances = cells[place] if block.phase == "optimizer" else cells[place] * step.repeats
        here = []
        for kernel, at, sort in zip(block.kernels, slots, sorts, strict=True):
            count = cells[at.instances]
            if not _absent(count):
                here.append((kernel, at, sort, instances * count))
        found.append((instances, here))
    return found


def _by_sort(blocks: Present) -> dict[int, tuple[Kernel, Slots, Value]]:
    """Layers hold several kernels that cost the same: one of each sort, with how many there are."""
    first: dict[int, tuple[Kernel, Slots]] = {}
    often: dict[int, Value] = {}
    for _, here in blocks:
        for kernel, at, sort, times in here:
            often[sort] = often[sort] + times if sort in often else times
            first.setdefault(sort, (kernel, at))
    return {sort: (kernel, at, often[sort]) for sort, (kernel, at) in first.items()}


def _absent(count: Value) -> bool:
    """Whether it is no kernel of this question (a loss in decoding, a tower without pictures): it costs nothing, and may
    have no sizes either."""
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
    return calibrate(kernel, numbers, machine, point, conditions, cost, folded)
