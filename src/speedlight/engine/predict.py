"""Scenario → Prediction: resolve, place, lower, price, schedule, explain (DESIGN, "The line everything flows along")."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from .._foundation.arrays import Value, maximum, shape_of
from .._foundation.errors import Unsupported
from .._foundation.expr import evaluate
from ..costs.cost import largest
from ..graph import stats
from ..graph.ir import Graph
from ..placement.place import world
from ..scenario.file import scenario_hash
from ..scenario.scenario import Scenario
from ..workload.workload import Workload
from . import intervals, summary
from .assume import assumptions_of
from .memory import memory_of
from .phase import Parts, free_symbols, run_phase, total, weighted
from .prediction import Prediction
from .resolve import Plan, Resolved, planned, resolve
from .sizes import check_sizes
from .sweep import in_chunks
from .unstated import open_statistics, spanning
from .why import crossovers, sensitivities


def predict(scenario: Scenario, *, details: bool = True) -> Prediction:
    """Answer one question, or a whole sweep of them when the scenario holds arrays.

    Args:
        scenario: the question.
        details: with op rows, sensitivities and crossovers (scalars only; sweeps give totals).

    Raises:
        BadInput, UnknownName, Unsupported: as :func:`speedlight.engine.resolve.resolve` does; sizes below 1.
    """
    resolved = resolve(scenario)
    check_sizes(scenario.program.workload, resolved.graph)
    answer = _answer(resolved, details)
    left = open_statistics(resolved)
    return answer if not left else spanning(resolved, left, answer, lambda other: _answer(other, False))


def _answer(resolved: Resolved, details: bool) -> Prediction:
    shape = shape_of(resolved.scenario)  # arrays reach the machine through the scenario's overrides only
    if not shape:
        return _predict(resolved, details=details)
    return in_chunks(resolved, shape, lambda part: _predict(part, details=False))


def _predict(resolved: Resolved, *, details: bool) -> Prediction:
    scenario, graph, machine, stack = resolved.scenario, resolved.graph, resolved.machine, resolved.stack
    program = scenario.program
    workload = program.workload
    if workload.phase == "train" and np.any(np.asarray(program.parallel.dp) > 1):
        raise Unsupported("data-parallel training is not executed by this version", expected="--dp 1")
    if workload.phase == "train" and program.model.mtp:
        raise Unsupported("multi-token prediction is not trained by this version", expected="--mtp 0")
    made, dims = planned(resolved)
    parts = run_phase(resolved, made, dims)
    time = total(parts, "time")
    least: dict[str, Value] = {}
    for result, weight, mean in parts.results:
        for resource, seconds in result.least.items():
            least[resource] = least.get(resource, 0.0) + weighted(seconds, weight, mean)
    limit = largest(least)
    time = maximum(time, limit)
    low, high = intervals.interval(parts, time, limit)
    devices = world(program.parallel)
    flops, dense, moved = (total(parts, name) * devices for name in ("flops", "dense", "bytes"))
    peak = summary.peak_used(parts, machine, scenario)
    ledger = memory_of(parts, resolved, made, dims)
    rows = summary.op_rows(parts, machine) if details else ()
    main = machine.main.resource
    prediction = Prediction(
        scenario=scenario,
        model=_model_facts(graph) if graph.attrs.get("kind") != "op list" else _op_list_facts(graph, workload),
        machine={
            "id": machine.id, "device": machine.device_id, "name": machine.name, "n_devices": machine.n_devices,
            "used": devices, "usd_per_hour": machine.price.usd_per_hour,
        },
        stack=stack.id,
        phase=workload.phase,
        layer=summary.layer(parts, stack),
        time=time, low=low, high=high, limit=limit,
        bound=summary.bound(parts, machine, rows if details else None),
        flops=flops, flops_dense=dense, bytes=moved,
        mfu=None if peak is None else flops / devices / (time * peak.flops),
        mbu=least.get(main, 0.0) / time,
        throughput=summary.throughput(workload, graph, time, program.parallel.dp, devices),
        memory=ledger,
        tiers={machine.main.name: {"total": ledger.total, "capacity": ledger.capacity, "fits": ledger.fits}},
        peak_used=peak,
        least=least,
        ops=rows,
        coverage=summary.coverage(graph, parts),
        ttft=summary.ttft(parts, workload),
        tpot=summary.tpot(parts, workload),
        attrs={
            "hash": scenario_hash(scenario), "roofs": summary.roofs(machine, peak),
            "batchless": graph.attrs.get("kind") == "op list" and "batch" not in graph.symbols,
        } if details else {},
        notes=machine.notes,
    )  # fmt: skip
    return _explained(prediction, resolved, made, dims, parts) if details else prediction


def _explained(
    prediction: Prediction, resolved: Resolved, made: Plan, dims: Mapping[str, Value], parts: Parts
) -> Prediction:
    return dataclasses.replace(
        prediction,
        sensitivities=sensitivities(resolved, made, dims, prediction.time),
        crossovers=crossovers(resolved, made, dims),
        assumptions=assumptions_of(resolved, prediction, parts),
    )


def _op_list_facts(graph: Graph, workload: Workload) -> Mapping[str, Any]:
    """The same of an op list, whose weights may depend on its symbols: sizes are those of this question."""
    env = {k: float(v) if isinstance(v, int) else v for k, v in free_symbols(graph, workload).items()}
    params, weight_bytes = (evaluate(stats.kept(graph, "weight", of_bytes=b), env) for b in (False, True))
    none = np.ndim(params) == 0 and params == 0
    return {
        "id": graph.name, "params": None if none else params, "active_params": None if none else params,
        "weight_bytes": weight_bytes, "kv_bytes_per_token": None,
    }  # fmt: skip


@lru_cache(maxsize=64)
def _model_facts(graph: Graph) -> Mapping[str, Any]:
    """CONTRACT's ``model`` object; the cache grows by what is stated while every window still grows."""
    return {
        "id": graph.name,
        "params": stats.parameters(graph),
        "active_params": stats.active_parameters(graph),
        "weight_bytes": float(evaluate(stats.kept(graph, "weight"), stats.unsharded(graph))),
        "kv_bytes_per_token": stats.kv_bytes_per_token_short(graph) if graph.attrs.get("causal") else None,
    }
