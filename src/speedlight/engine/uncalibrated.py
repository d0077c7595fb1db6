"""A question's kernels with their analytic costs: what efficiencies are fitted to when whole models were measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .._foundation.arrays import Value
from ..costs.cost import Conditions, Cost
from ..costs.price import price
from ..hardware.machine import Machine
from ..lowering.kernels import Kernel, KernelValues
from ..scenario.scenario import Scenario
from ..workload.workload import single_step
from .evaluate import kernels_by_sort, sizes_of
from .phase import free_symbols
from .resolve import Resolved, planned, resolve


@dataclass(frozen=True, slots=True)
class AnalyticKernel:
    """One sort of kernel of a step: its numbers, what it costs before any fit, and how many of it run."""

    kernel: Kernel
    values: KernelValues
    cost: Cost
    count: Value


def analytic_kernels(scenario: Scenario) -> tuple[Machine, Iterator[AnalyticKernel]]:
    """The machine, and the kernels of a question of one step; those that always cost the same come as one.

    Raises:
        as :func:`.resolve.resolve` does.
    """
    resolved = resolve(scenario)
    return resolved.machine, _kernels(resolved)


def _kernels(resolved: Resolved) -> Iterator[AnalyticKernel]:
    scenario, machine, stack = resolved.scenario, resolved.machine, resolved.stack
    made, dims = planned(resolved)
    workload = scenario.program.workload
    step = single_step(workload)
    symbols = free_symbols(resolved.graph, workload)
    env, groups, ledger = sizes_of(made, step, machine, stack, dims, symbols)
    conditions = Conditions("in-model", ledger.by_class["weights"], stack.device_latency, step=step.name)
    for kernel, numbers, times in kernels_by_sort(made, step, env, groups):
        yield AnalyticKernel(kernel, numbers, price(kernel, numbers, machine, scenario.point, conditions), times)
