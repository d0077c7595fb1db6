"""Scenario → Prediction: resolve, place, lower, price, schedule, explain (DESIGN, "The line everything flows along")."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .._foundation.arrays import Value, maximum, shape_of
from .._foundation.errors import Unsupported
from ..costs.cost import largest
from ..scenario.file import scenario_hash
from ..scenario.scenario import Scenario
from .answers import summary
from .answers.layers import layers_of
from .answers.prediction import Prediction
from .answers.why import crossovers, sensitivities
from .programs.chain import Link, as_one, at_home, memory_of_chain, model_facts, most_devices, over_devices, run_chain
from .programs.stages import period, said, stages_of
from .questions.assume import assumptions_of
from .questions.loaded import loaded
from .questions.resolve import Resolved, planned, resolve
from .questions.sizes import check_repeats, check_sizes
from .questions.unstated import open_statistics, spanning
from .steps import intervals
from .steps.phase import Parts, total, weighted
from .steps.sweep import in_chunks
from .training import shares as training_shares
from .training.layout import check_layout


def predict(scenario: Scenario, *, details: bool = True, joint: bool = False) -> Prediction:
    """Answer one question, or a whole sweep of them when the scenario holds arrays.

    Args:
        scenario: the question.
        details: with op rows, sensitivities and crossovers (scalars only; sweeps give totals).
        joint: with the errors that two answers share, for who compares them (small sweeps only).

    Raises:
        BadInput, UnknownName, Unsupported: as :func:`speedlight.engine.questions.resolve.resolve` does; sizes below 1.
    """
    resolved = resolve(scenario)
    for stage in resolved.chain:
        check_sizes(stage.scenario.program.workload, stage.graph)
        check_layout(stage.scenario.program, stage.graph)
    check_repeats(scenario)
    answer = _answer(resolved, details, joint)
    if scenario.program.workload.moe_load != "balanced":
        answer = loaded(resolved, answer, lambda other: _answer(other, False))
    left = open_statistics(resolved)
    return answer if not left else spanning(resolved, left, answer, lambda other: _answer(other, False))


def _answer(resolved: Resolved, details: bool, joint: bool = False) -> Prediction:
    shape = shape_of(resolved.scenario)  # arrays reach the machine through the scenario's overrides only
    if not shape:
        return _predict(resolved, details=details, joint=joint)
    return in_chunks(resolved, shape, lambda part: _predict(part, details=False, joint=joint))


def _predict(resolved: Resolved, *, details: bool, joint: bool = False) -> Prediction:
    scenario, graph, machine, stack = resolved.scenario, resolved.graph, resolved.machine, resolved.stack
    program = scenario.program
    workload = program.workload
    if resolved.stages and any(p.workload.phase == "train" for p in scenario.programs):
        raise Unsupported("training several programs is not executed by this version", expected="one program")
    if workload.phase == "train" and program.model.mtp:
        raise Unsupported("multi-token prediction is not trained by this version", expected="--mtp 0")
    links = [Link(stage, *planned(stage)) for stage in resolved.chain]
    each = run_chain(links)
    parts = as_one(links, each)
    time = total(parts, "time")
    least: dict[str, Value] = {}
    for result, weight, mean in parts.results:
        for resource, seconds in result.least.items():
            least[resource] = least.get(resource, 0.0) + weighted(seconds, weight, mean)
    limit = largest(least)
    time = maximum(time, limit)
    low, high = intervals.interval(parts, time, limit)
    if workload.phase == "train":
        low, high = intervals.of_training(resolved.graph, stack, machine, (time, low, high), limit)
    devices = most_devices(scenario)
    flops, dense, moved, again = (over_devices(parts, scenario, name) for name in ("flops", "dense", "bytes", "again"))
    peak = summary.peak_used(at_home(parts, links, machine.id), machine, scenario)
    ledger = memory_of_chain(links, each, machine.id)
    pieces = summary.pieces(parts, machine) if details else ()
    rows = tuple(piece.row for piece in pieces)
    main = machine.main.resource
    stages = stages_of(parts, machine) if resolved.stages else ()
    apart = period(stages) if stages else time  # seconds from one call of a stream to the next
    prediction = Prediction(
        scenario=scenario,
        model=model_facts(resolved),
        machine={
            "id": machine.id, "device": machine.device_id, "name": machine.name, "n_devices": machine.n_devices,
            "used": devices, "usd_per_hour": machine.price.usd_per_hour,
        },
        stack=stack.id,
        phase=workload.phase if not resolved.stages or graph.attrs.get("stretch") else _whole_call(workload.phase),
        layer=summary.layer(parts, stack),
        time=time, low=low, high=high, limit=limit,
        bound=summary.bound(parts, machine, rows if details else None),
        flops=flops, flops_dense=dense, bytes=moved,
        mfu=None if peak is None else flops / devices / (time * peak.flops),
        hfu=None if peak is None or workload.phase != "train" else (flops + again) / devices / (time * peak.flops),
        mbu=least.get(main, 0.0) / time,
        throughput=summary.throughput(
            workload, graph, apart, 1 if workload.phase == "train" else program.parallel.dp, devices
        ),
        memory=ledger,
        tiers=summary.tiers(ledger, machine),
        peak_used=peak,
        least=least,
        ops=rows,
        layers=layers_of(pieces),
        coverage=summary.coverage(graph, parts),
        ttft=summary.ttft(parts, workload),
        tpot=summary.tpot(parts, workload),
        attrs={
            "hash": scenario_hash(scenario), "roofs": summary.roofs(machine, peak),
            "shares": training_shares.shares(rows) if workload.phase == "train" else {},
            "batchless": graph.attrs.get("kind") == "op list" and "batch" not in graph.symbols,
        } if details else {},
        notes=(*machine.notes, said(stages)) if stages and details else machine.notes,
        stages=stages if details else (),
        period=apart,
        joint=intervals.joint(parts) if joint else None,
    )  # fmt: skip
    return _explained(prediction, resolved, links, parts) if details else prediction


def _whole_call(phase: str) -> str:
    """What a call of several models is called: the whole of what one of them does a part of."""
    return "generate" if phase == "forward" else phase


def _explained(prediction: Prediction, resolved: Resolved, links: Sequence[Link], parts: Parts) -> Prediction:
    return dataclasses.replace(
        prediction,
        sensitivities=sensitivities(links, prediction.time),
        crossovers=() if resolved.stages else crossovers(resolved, links[0].plan, links[0].dims),
        assumptions=assumptions_of(resolved, prediction, parts),
    )
