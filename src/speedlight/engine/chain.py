"""Programs one after the other in one call: a text encoder, a denoiser's steps, a decoder of pictures.

Each is resolved, placed, lowered and priced as a program alone would be; a call's steps are all of theirs, each as often as
its program repeats. Every model's weights stay in memory for the whole call, whatever else a stage needs lives while it
runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .._foundation.arrays import Value, maximum
from .._foundation.expr import evaluate
from ..graph import stats
from ..graph.ir import Graph
from ..hardware.machine import Machine
from ..lowering.ledger import Ledger
from ..placement.place import world
from ..scenario.scenario import Scenario
from ..workload.workload import Workload
from .memory import memory_of
from .phase import Parts, free_symbols, in_sequence, run_phase, weighted
from .resolve import Plan, Resolved


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """One program of a call with its plan."""

    resolved: Resolved
    plan: Plan
    dims: Mapping[str, Value]


def run_chain(links: Sequence[Link], machine: Machine | None = None, ndim: int = 0) -> list[Parts]:
    """Price every program's steps; see :func:`.phase.run_phase`."""
    return [run_phase(link.resolved, link.plan, link.dims, machine, ndim) for link in links]


def as_one(links: Sequence[Link], parts: Sequence[Parts]) -> Parts:
    """The steps of a whole call, each program's as often as it repeats."""
    if len(links) == 1:
        return parts[0]
    programs = [link.resolved.scenario.program for link in links]
    return in_sequence([part.times(p.repeats, p.name) for part, p in zip(parts, programs, strict=True)])


def memory_of_chain(links: Sequence[Link], parts: Sequence[Parts]) -> Ledger:
    """All weights and caches of sequences together, each model's once; of everything else what the neediest stage holds."""
    each = zip(parts, links, strict=True)
    return together(links, [memory_of(part, link.resolved, link.plan, link.dims) for part, link in each])


def together(links: Sequence[Link], ledgers: Sequence[Ledger]) -> Ledger:
    """The ledger of a call from its stages'.

    A program that shares another's weights has them in memory once, unless they are in another format. Caches last from call to
    call where tokens are generated, else as long as their stage.
    """
    if len(ledgers) == 1:
        return ledgers[0]
    owners = {link.resolved.scenario.program.name: link.resolved.scenario.program for link in links}
    weights: dict[Any, Value] = {}
    caches: dict[Any, Value] = {}
    by_class: dict[str, Value] = {}
    for link, ledger in zip(links, ledgers, strict=True):
        program = link.resolved.scenario.program
        owner = owners.get(program.shares, program)
        whose = (owner.model, owner.parallel)
        form = (*whose, program.model.dtype, program.model.weights)
        weights[form] = maximum(weights.get(form, 0.0), ledger.by_class["weights"])
        if program.workload.phase in ("decode", "generate"):
            caches[whose] = maximum(caches.get(whose, 0.0), ledger.by_class["kv"])
        for name, size in ledger.by_class.items():
            by_class[name] = maximum(by_class.get(name, 0.0), size)
    resident, cached = (_sum(sizes.values()) for sizes in (weights, caches))
    return Ledger({**by_class, "weights": resident, "kv": maximum(by_class["kv"], cached)}, ledgers[0].capacity)


def _sum(sizes: Iterable[Value]) -> Value:
    found: Value = 0.0
    for size in sizes:
        found = found + size
    return found


def most_devices(scenario: Scenario) -> Value:
    """Devices in use: those of the widest program, which the others share."""
    result: Value = 0
    for program in scenario.programs:
        result = maximum(result, world(program.parallel))
    return result


def over_devices(parts: Parts, scenario: Scenario, name: str) -> Value:
    """A sum over all steps and the devices each runs on."""
    result: Value = 0.0
    devices = {program.name: world(program.parallel) for program in scenario.programs}
    for index, (step, weight, nodes) in enumerate(parts.results):
        here = devices[parts.stages[index]] if parts.stages else world(scenario.program.parallel)
        result = result + weighted(getattr(step, name), weight, nodes) * here
    return result


def model_facts(resolved: Resolved) -> Mapping[str, Any]:
    """CONTRACT's ``model`` object; of several models the main one's name, the sum of all, and ``parts`` by program."""
    if not resolved.stages:
        return _facts_of(resolved)
    main = dict(_facts_of(resolved))
    models = {stage.scenario.program.model: _facts_of(stage) for stage in resolved.stages}
    for name in ("params", "active_params", "weight_bytes"):
        main[name] = sum(facts[name] or 0 for facts in models.values())
    main["parts"] = {s.scenario.program.name: dict(_facts_of(s)) for s in resolved.stages}
    return main


def _facts_of(resolved: Resolved) -> Mapping[str, Any]:
    if resolved.graph.attrs.get("kind") == "op list":
        return _op_list_facts(resolved.graph, resolved.scenario.program.workload)
    return _facts(resolved.graph)


@lru_cache(maxsize=64)
def _facts(graph: Graph) -> Mapping[str, Any]:
    """One model; its cache grows by what is stated while every window still grows."""
    return {
        "id": graph.name,
        "params": stats.parameters(graph),
        "active_params": stats.active_parameters(graph),
        "weight_bytes": float(evaluate(stats.kept(graph, "weight"), stats.unsharded(graph))),
        "kv_bytes_per_token": stats.kv_bytes_per_token_short(graph) if graph.attrs.get("causal") else None,
    }


def _op_list_facts(graph: Graph, workload: Workload) -> Mapping[str, Any]:
    """The same of an op list, whose weights may depend on its symbols: sizes are those of this question."""
    env = {k: float(v) if isinstance(v, int) else v for k, v in free_symbols(graph, workload).items()}
    params, weight_bytes = (evaluate(stats.kept(graph, "weight", of_bytes=b), env) for b in (False, True))
    none = np.ndim(params) == 0 and params == 0
    return {
        "id": graph.name, "params": None if none else params, "active_params": None if none else params,
        "weight_bytes": weight_bytes, "kv_bytes_per_token": None,
    }  # fmt: skip
