"""Programs one after the other in one call: a text encoder, a denoiser's steps, a decoder of pictures.

Each is resolved, placed, lowered and priced as a program alone would be; a call's steps are all of theirs, each as often as
its program repeats. Every model's weights stay in memory for the whole call, whatever else a stage needs lives while it
runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, added, maximum
from ..._foundation.expr import evaluate
from ...graph import stats
from ...graph.ir import Graph
from ...hardware.machine import Machine
from ...lowering.ledger import Ledger
from ...placement.place import world
from ...scenario.scenario import Scenario
from ...workload.workload import Workload
from ..questions.resolve import Plan, Resolved
from ..steps.memory import memory_of
from ..steps.phase import Parts, free_symbols, in_sequence, run_phase, weighted
from .edges import handed_on


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """One program of a call with its plan."""

    resolved: Resolved
    plan: Plan
    dims: Mapping[str, Value]


def run_chain(links: Sequence[Link], machine: Machine | None = None, ndim: int = 0) -> list[Parts]:
    """Price every program's steps; see :func:`..steps.phase.run_phase`."""
    home = links[0].resolved.machine.id
    return [
        run_phase(link.resolved, link.plan, link.dims, machine if link.resolved.machine.id == home else None, ndim)
        for link in links
    ]


def as_one(links: Sequence[Link], parts: Sequence[Parts]) -> Parts:
    """The steps of a whole call, each program's as often as it repeats."""
    if len(links) == 1:
        return parts[0]
    programs = [link.resolved.scenario.program for link in links]
    whole: list[Parts] = []
    for part, program, link in zip(parts, programs, links, strict=True):
        whole.append(part.times(program.repeats, program.name))
        for name, step, weight in handed_on(program.name, link.resolved.scenario.edges, link.resolved.machine):
            whole.append(Parts(((step, weight, False),), stages=(name,)))
    return in_sequence(whole)


def at_home(parts: Parts, links: Sequence[Link], home: str) -> Parts:
    """The steps that run on the machine the question is about."""
    if not parts.stages:
        return parts
    there = {link.resolved.scenario.program.name for link in links if link.resolved.machine.id == home}
    chosen = [i for i, stage in enumerate(parts.stages) if stage in there]
    return Parts(tuple(parts.results[i] for i in chosen), parts.error, tuple(parts.stages[i] for i in chosen))


def memory_of_chain(links: Sequence[Link], parts: Sequence[Parts], home: str = "") -> Ledger:
    """All weights and caches of sequences together, each model's once; of everything else what the neediest stage holds.

    Args:
        home: id of the machine the question is about; what programs on others hold lies elsewhere, by their machines' ids.
    """
    each = zip(parts, links, strict=True)
    return together(links, [memory_of(part, link.resolved, link.plan, link.dims) for part, link in each], home)


def together(links: Sequence[Link], ledgers: Sequence[Ledger], home: str = "") -> Ledger:
    """The ledger of a call from its stages', of each machine on its own.

    Args:
        home: as :func:`memory_of_chain`; the first program's machine where empty.
    """
    home = home or links[0].resolved.machine.id
    places = dict.fromkeys(link.resolved.machine.id for link in links)
    found: dict[str, Ledger] = {}
    for place in places:
        here = [pair for pair in zip(links, ledgers, strict=True) if pair[0].resolved.machine.id == place]
        found[place] = _on_one([link for link, _ in here], [ledger for _, ledger in here])
    own = found.pop(home)
    elsewhere = {**own.elsewhere, **{place: ledger.total for place, ledger in found.items()}}
    return dataclasses.replace(
        own, elsewhere=elsewhere, room={**own.room, **{place: ledger.capacity for place, ledger in found.items()}}
    )


def _on_one(links: Sequence[Link], ledgers: Sequence[Ledger]) -> Ledger:
    """The ledger of one machine from its stages'.

    A program that shares another's weights has them in memory once, unless they are in another format. Caches last from call to
    call where tokens are generated, else as long as their stage.
    """
    if len(ledgers) == 1:
        return ledgers[0]
    owners = {link.resolved.scenario.program.name: link.resolved.scenario.program for link in links}
    weights: dict[Any, Value] = {}
    caches: dict[Any, Value] = {}
    outside: dict[tuple[Any, str], Value] = {}
    by_class: dict[str, Value] = {}
    for link, ledger in zip(links, ledgers, strict=True):
        program = link.resolved.scenario.program
        owner = owners.get(program.shares, program)
        whose = (owner.model, owner.parallel)
        form = (*whose, program.model.dtype, program.model.weights)
        weights[form] = maximum(weights.get(form, 0.0), ledger.by_class["weights"])
        if program.workload.phase in ("decode", "generate"):
            caches[whose] = maximum(caches.get(whose, 0.0), ledger.by_class["kv"])
        for role, size in ledger.elsewhere.items():
            outside[form, role] = maximum(outside.get((form, role), 0.0), size)
        for name, size in ledger.by_class.items():
            by_class[name] = maximum(by_class.get(name, 0.0), size)
    elsewhere = {name: added(size for (_, role), size in outside.items() if role == name) for _, name in outside}
    room = {role: size for ledger in ledgers for role, size in ledger.room.items()}
    resident, cached = (added(sizes.values()) for sizes in (weights, caches))
    by_class |= {"weights": resident, "kv": maximum(by_class["kv"], cached)}
    return Ledger(by_class, ledgers[0].capacity, elsewhere, room)


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
        here = devices.get(parts.stages[index], 1) if parts.stages else world(scenario.program.parallel)
        result = result + weighted(getattr(step, name), weight, nodes) * here
    return result


def model_facts(resolved: Resolved) -> Mapping[str, Any]:
    """CONTRACT's ``model`` object; of several models the main one's name, the sum of all, and ``parts`` by program."""
    if not resolved.stages:
        return _facts_of(resolved)
    found = [_facts_of(stage) for stage in resolved.stages]
    programs = [stage.scenario.program for stage in resolved.stages]
    main = dict(found[next(i for i, p in enumerate(programs) if p.name == resolved.scenario.program.name)])
    models = {program.model: facts for program, facts in zip(programs, found, strict=True)}
    for name in ("params", "active_params", "weight_bytes"):
        main[name] = sum(facts[name] for facts in models.values() if facts[name] is not None)
    main["parts"] = {program.name: dict(facts) for program, facts in zip(programs, found, strict=True)}
    return main


def _facts_of(resolved: Resolved) -> Mapping[str, Any]:
    if resolved.graph.attrs.get("kind") == "op list" or resolved.graph.attrs.get("stretch"):
        return _facts_at(resolved.graph, resolved.scenario.program.workload)
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


def _facts_at(graph: Graph, workload: Workload) -> Mapping[str, Any]:
    """The same of an op list or of a stretch of a network, whose weights depend on symbols: those of this question."""
    env: dict[str, Value] = {**stats.unsharded(graph)}
    env |= {k: float(v) if isinstance(v, int) else v for k, v in free_symbols(graph, workload).items()}
    params, weight_bytes = (evaluate(stats.kept(graph, "weight", of_bytes=b), env) for b in (False, True))
    none = np.ndim(params) == 0 and params == 0
    return {
        "id": graph.name, "params": None if none else params, "active_params": None if none else params,
        "weight_bytes": weight_bytes, "kv_bytes_per_token": None,
    }  # fmt: skip
