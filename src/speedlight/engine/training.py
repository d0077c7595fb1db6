"""One training step: a replica's micro-batches priced on one device, then laid over the mesh where there is more than one."""

from __future__ import annotations

from collections.abc import Mapping

from .._foundation.arrays import Value
from ..hardware.machine import Machine
from ..placement.stages import deal
from . import residents, spread
from .evaluate import StepResult, bindings, evaluate_step
from .layout import step_of
from .resolve import Plan, Resolved


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
    parallel, training = program.parallel, program.workload.training
    step = step_of(program.workload, parallel)
    if not spread.needed(resolved):
        return evaluate_step(made, step, machine, scenario.point, resolved.stack, dims, symbols, throttle)
    cut = deal(made.graph, parallel, training.virtual)
    mine = {**dims, "again": residents.again_share(training, parallel, cut.layers)}
    env = bindings(step, mine, symbols)
    groups = [{k: float(v) if isinstance(v, int) else v for k, v in g.env().items()} for g in step.groups]
    holdings = made.holdings.evaluate(env, groups)
    mine["updated"], mine["updated_experts"] = residents.updated(cut, holdings, parallel)
    whole = evaluate_step(made, step, machine, scenario.point, resolved.stack, mine, symbols, throttle)
    return spread.across(resolved, made, cut, holdings, whole, machine)
