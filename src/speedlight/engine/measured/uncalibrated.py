"""A question's kernels with their analytic costs: what efficiencies are fitted to when whole models were measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value
from ...costs.cost import Conditions, Cost
from ...costs.price import price
from ...hardware.machine import Machine
from ...lowering.kernels import Kernel, KernelValues
from ...scenario.scenario import Scenario
from ...workload.workload import single_step
from ..questions.resolve import Resolved, planned, resolve
from ..steps.evaluate import present_sorts, sizes_of
from ..steps.phase import free_symbols
from ..steps.together import stacks


@dataclass(frozen=True, slots=True)
class AnalyticKernel:
    """Kernels of one structure: their numbers, what they cost before any fit, and how many of each run.

    Attributes:
        kernel: one of them.
        values, cost, count: of one kernel like the question's sizes; of ``several`` with an axis for them in front.
        several: how many there are; 0 where a kernel is priced alone.
    """

    kernel: Kernel
    values: KernelValues
    cost: Cost
    count: Value
    several: int = 0


def analytic_kernels(scenario: Scenario) -> tuple[Machine, Iterator[AnalyticKernel]]:
    """The machine, and the kernels of a question of one step; those that always cost the same come as one.

    Raises:
        as :func:`..questions.resolve.resolve` does.
    """
    resolved = resolve(scenario)
    return resolved.machine, _kernels(resolved)


def _kernels(resolved: Resolved) -> Iterator[AnalyticKernel]:
    machine, stack, point = resolved.machine, resolved.stack, resolved.scenario.point
    made, dims = planned(resolved)
    workload = resolved.scenario.program.workload
    step = single_step(workload)
    env, groups, ledger = sizes_of(made, step, machine, stack, dims, free_symbols(resolved.graph, workload))
    conditions = Conditions("in-model", ledger.by_class["weights"], stack.device_latency, step=step.sort)
    numbers = made.program.run(env, groups)
    present = present_sorts(made.program, numbers, step)
    chosen = {sort: (kernel, at) for sort, (kernel, at, _) in present.items()}
    alone = set(chosen)
    for sorts in stacks(made.program, numbers, chosen, machine, point, conditions, lambda kernel: True):
        alone.difference_update(sorts)
        kernel = chosen[sorts[0]][0]
        values = numbers.stacked(sorts, [chosen[sort][1] for sort in sorts])
        count = np.stack([np.broadcast_to(present[sort][2], numbers.shape) for sort in sorts])
        yield AnalyticKernel(kernel, values, price(kernel, values, machine, point, conditions), count, len(sorts))
    for sort in sorted(alone):
        kernel, at, count = present[sort]
        values = numbers.of(at)
        yield AnalyticKernel(kernel, values, price(kernel, values, machine, point, conditions), count)
