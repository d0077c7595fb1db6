"""Steps of many devices: a replica's micro-batches priced on one, then laid over the mesh."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value
from ...graph.ir import Graph
from ...hardware.machine import Machine
from ...lowering.ledger import Ledger
from ...lowering.shares import Holdings
from ...placement.stages import Deal, deal
from ...scenario.scenario import Parallel
from ...schedule.families import FAMILIES, parse
from ...workload.workload import Step, Training
from ..offload.states import outside
from ..questions.resolve import Plan, Resolved
from ..steps.evaluate import StepResult, bindings, evaluate_step
from . import residents, spread
from .layout import step_of
from .overlapped import overlapping
from .through import memory, through


def training_step(
    resolved: Resolved, made: Plan, dims: Mapping[str, Value], machine: Machine, symbols: Mapping[str, Value], throttle: Value
) -> StepResult:  # fmt: skip
    """The slowest rank's step.

    Args:
        dims, symbols: values of the graph's dimensions, mesh axes and free symbols on one rank.
        throttle: clock left by a power limit.
    """
    scenario = resolved.scenario
    program = scenario.program
    step = step_of(program.workload, program.parallel)
    if not spread.needed(resolved):
        wires = overlapping(program.parallel)
        return evaluate_step(made, step, machine, scenario.point, resolved.stack, dims, symbols, throttle, wires)
    cut, holdings, whole = _whole(resolved, made, step, dims, machine, symbols, throttle)
    return spread.across(resolved, made, cut, holdings, whole, machine)


def cut_for(graph: Graph, parallel: Parallel, training: Training) -> Deal:
    """The layers on stages, as the step's schedule wants them laid."""
    family = FAMILIES[parse(training.schedule)[0]]
    return deal(graph, parallel, training.virtual, folded=family.folded, ends_dealt=family.shares)


def forward_pass(
    resolved: Resolved, made: Plan, dims: Mapping[str, Value], machine: Machine, symbols: Mapping[str, Value], throttle: Value
) -> StepResult:  # fmt: skip
    """The forward passes of a training step, all micro-batches."""
    program = resolved.scenario.program
    step = step_of(program.workload, program.parallel)
    cut, holdings, whole = _whole(resolved, made, step, dims, machine, symbols, throttle)
    return through(cut, holdings, whole, program.parallel, machine, resolved.scenario.point, resolved.stack)


def piped_step(
    resolved: Resolved, made: Plan, step: Step, dims: Mapping[str, Value], machine: Machine, symbols: Mapping[str, Value],
    throttle: Value,
) -> StepResult:  # fmt: skip
    """A step of inference through pipeline stages, in micro-batches where the question states them."""
    parallel, point, stack = resolved.scenario.program.parallel, resolved.scenario.point, resolved.stack
    step = _in_micro_batches(step, resolved)
    cut = deal(made.graph, parallel)
    holdings = _holdings(made, step, dims, symbols)
    whole = evaluate_step(made, step, machine, point, stack, dims, symbols, throttle, overlapping(parallel))
    return through(cut, holdings, whole, parallel, machine, point, stack)


def laid_out(resolved: Resolved) -> bool:
    """Whether a rank holds less than one device would."""
    if resolved.scenario.program.workload.phase == "train":
        return spread.needed(resolved)
    return bool(np.any(np.asarray(resolved.scenario.program.parallel.pp) > 1))


def ledger_of(
    resolved: Resolved, made: Plan, dims: Mapping[str, Value], step: Step, symbols: Mapping[str, Value]
) -> Ledger:  # fmt: skip
    """The fullest rank's ledger while a step runs; nothing is priced."""
    program = resolved.scenario.program
    parallel, training = program.parallel, program.workload.training
    capacity = resolved.machine.main.capacity_bytes
    if program.workload.phase == "train":
        step = step_of(program.workload, parallel)
        cut = cut_for(made.graph, parallel, training)
        holdings = _holdings(made, step, dims, symbols)
        way = outside(training, resolved.machine)
        return residents.ledger(cut, holdings, parallel, training, step.repeats, resolved.stack, capacity, way)
    step = _in_micro_batches(step, resolved)
    return memory(
        deal(made.graph, parallel), _holdings(made, step, dims, symbols), step.repeats, resolved.stack, capacity
    )


def _in_micro_batches(step: Step, resolved: Resolved) -> Step:
    workload = resolved.scenario.program.workload
    micro = workload.training.micro_batch
    if micro is None:
        return step
    count = workload.batch / micro
    groups = tuple(dataclasses.replace(g, count=g.count / count) for g in step.groups)
    return dataclasses.replace(step, groups=groups, repeats=count)


def _holdings(made: Plan, step: Step, dims: Mapping[str, Value], symbols: Mapping[str, Value]) -> Holdings:
    groups = [{k: float(v) if isinstance(v, int) else v for k, v in g.env().items()} for g in step.groups]
    return made.holdings.evaluate(bindings(step, dims, symbols), groups)


def _whole(
    resolved: Resolved, made: Plan, step: Step, dims: Mapping[str, Value], machine: Machine, symbols: Mapping[str, Value],
    throttle: Value,
) -> tuple[Deal, Holdings, StepResult]:  # fmt: skip
    """The layers on stages, what blocks hold, and a replica's step as one device would run it."""
    scenario = resolved.scenario
    parallel, training = scenario.program.parallel, scenario.program.workload.training
    cut = cut_for(made.graph, parallel, training)
    mine = {**dims, "again": residents.again_share(training, parallel, cut.layers)}
    holdings = _holdings(made, step, mine, symbols)
    mine["updated"], mine["updated_experts"] = residents.updated(cut, holdings, parallel)
    whole = evaluate_step(
        made, step, machine, scenario.point, resolved.stack, mine, symbols, throttle, overlapping(parallel)
    )
    return cut, holdings, whole
