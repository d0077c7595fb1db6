"""A call of the phase as weighted steps, each priced once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, shape_of
from ...graph.ir import Graph
from ...graph.statistics import complete
from ...hardware.machine import Machine
from ...workload.workload import Step, Workload, decode_step, single_step
from ..offload.away import ledger_away, step_away
from ..questions.resolve import Plan, Resolved
from ..serving.nano import in_parts
from ..training.layout import micro_batch
from ..training.overlapped import overlapping
from ..training.step import piped_step, training_step
from . import growing
from .evaluate import StepResult, evaluate_step
from .expert_ranks import DRAW, SPREAD, load_of
from .power import clock_under_limit


@dataclass(frozen=True, slots=True)
class Parts:
    """A call of the phase as weighted steps.

    Attributes:
        results: (step result, weight): the call's time is Σ weight · step time, over an extra leading axis of a step
            that stands for several contexts.
        error: bound on the relative error of integrating over a growing context.
        stages: of each result the program it belongs to, where a call runs several; else empty.
    """

    results: tuple[tuple[StepResult, Value, bool], ...]
    error: float = 0.0
    stages: tuple[str, ...] = ()

    def times(self, repeats: Value, stage: str) -> Parts:
        """The same as a stage that runs so often in a call."""
        results = tuple((step, weight * repeats, nodes) for step, weight, nodes in self.results)
        return Parts(results, self.error, (stage,) * len(results))


def in_sequence(parts: Sequence[Parts]) -> Parts:
    """Stages one after the other: their steps are those of one call."""
    results = tuple(result for part in parts for result in part.results)
    return Parts(results, max(part.error for part in parts), tuple(name for part in parts for name in part.stages))


def free_symbols(graph: Graph, workload: Workload) -> dict[str, Value]:
    """Values of a graph's own symbols: the question's, else the graph's defaults, else the middles of their ranges."""
    symbols: dict[str, Value] = {**workload.symbols}
    if "batch" in graph.symbols:
        micro = workload.training.micro_batch if workload.phase == "train" else None
        symbols["batch"] = workload.batch if micro is None else micro  # of one forward and backward pass
    found = complete(graph, {**{k: v for k, v in graph.symbols.items() if v is not None}, **symbols})
    if workload.moe_load != "balanced":
        found[SPREAD] = load_of(graph, workload.moe_load, found.pop(DRAW, 0.0))
    return found


def run_phase(
    resolved: Resolved, made: Plan, dims: Mapping[str, Value], machine: Machine | None = None, ndim: int = 0
) -> Parts:
    """Price the phase's steps, on another machine than the scenario's if given (whose arrays have ``ndim`` axes).

    ``generate`` is a prefill and the decode steps of osl − 1 tokens over a growing context, integrated as :mod:`.growing` says.
    """
    scenario = resolved.scenario
    workload = scenario.program.workload
    chosen = machine if machine is not None else resolved.machine
    symbols = free_symbols(resolved.graph, workload)

    parallel = scenario.program.parallel
    wires = overlapping(parallel, resolved.stack)

    nano = int(resolved.stack.attrs.get("nano_batches", 1))

    def alone(step: Step) -> StepResult:
        return evaluate_step(made, step, chosen, scenario.point, resolved.stack, dims, symbols, throttle, wires)

    def run(step: Step) -> StepResult:
        if step.name != "decode" and np.any(np.asarray(parallel.cp) > 1):
            step = dataclasses.replace(step, divided=parallel.cp)
        if not np.any(np.asarray(parallel.pp) > 1):
            return _away(in_parts(alone, step, nano), resolved, made, dims, symbols, chosen)
        return piped_step(resolved, made, step, dims, chosen, symbols, throttle)

    throttle = clock_under_limit(chosen, scenario.point)
    if workload.phase == "train":
        if "batch" in symbols:  # a captured module's own: what one forward and backward pass sees
            symbols = {**symbols, "batch": micro_batch(workload, scenario.program.parallel)}
        return Parts(((training_step(resolved, made, dims, chosen, symbols, throttle), 1.0, False),))
    if workload.phase != "generate":
        return Parts(((run(single_step(workload)), steps_of(workload), False),))
    prefill = run(single_step(dataclasses.replace(workload, phase="prefill")))
    steps = workload.osl - 1
    ndim = max(ndim, len(shape_of(scenario)))
    context, share = growing.contexts(workload.isl, steps, ndim)
    decode = run(decode_step(workload.batch, context, workload.new))
    error = growing.relative_error(decode.time, ndim)
    return Parts(((prefill, 1.0, False), (decode, share * (steps / workload.outputs), True)), error)


def steps_of(workload: Workload) -> Value:
    """Steps of a call: of decoding those that add one token to each sequence."""
    return 1.0 / workload.outputs if workload.phase == "decode" and not workload.groups else 1.0


def _away(
    result: StepResult, resolved: Resolved, made: Plan, dims: Mapping[str, Value], symbols: Mapping[str, Value], machine: Machine
) -> StepResult:  # fmt: skip
    """The step with what it keeps outside the device; itself where it keeps all on it."""
    if not resolved.scenario.program.workload.places:
        return result
    ledger = ledger_away(result.ledger, resolved, made, result.step, dims, symbols)
    return dataclasses.replace(step_away(result, resolved, made, dims, symbols, machine), ledger=ledger)


def weighted(value: Value, weight: Value, nodes: bool) -> Value:
    """Σ weight · value; over the leading axis of context nodes where there is one."""
    if not nodes:
        return value * weight
    return growing.over_nodes(value, weight)


def total(parts: Parts, name: str) -> Value:
    result: Value = 0.0
    for step, weight, nodes in parts.results:
        result = result + weighted(getattr(step, name), weight, nodes)
    return result
