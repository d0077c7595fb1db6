"""Scenario → Prediction: resolve, place, lower, price, schedule, explain (DESIGN, "The line everything flows along")."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.arrays import Value, map_arrays, maximum, shape_of
from .._foundation.errors import BadInput, Unsupported
from ..costs.cost import bound_names
from ..costs.price import peak_for
from ..graph import stats
from ..graph.ir import Graph
from ..hardware.machine import Machine
from ..placement.place import place, world
from ..scenario.file import scenario_hash
from ..scenario.scenario import Scenario
from ..workload.workload import Group, Step, Workload, single_step
from . import growing, intervals
from .assume import assumptions_of
from .evaluate import StepResult, evaluate_step
from .memory import memory_of
from .power import clock_under_limit
from .prediction import Coverage, OpRow, PeakFact, Prediction
from .resolve import Plan, Resolved, plan, resolve

CHUNK = 1 << 15  # points of a sweep priced at once: what keeps a dozen temporaries inside a core's cache


@dataclass(frozen=True, slots=True)
class Parts:
    """A call of the phase as weighted steps.

    Attributes:
        results: (step result, weight): the call's time is Σ weight · step time, over an extra leading axis of a step
            that stands for several contexts.
        error: bound on the relative error of integrating over a growing context.
    """

    results: tuple[tuple[StepResult, Value, bool], ...]
    error: float = 0.0


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
    shape = shape_of(scenario)  # arrays reach the machine through the scenario's overrides only
    if not shape:
        return _predict(resolved, details=details)
    if int(np.prod(shape)) <= CHUNK:
        return _join([_predict(resolved, details=False)], scenario, shape, 0, [shape[0]])
    return _in_chunks(resolved, shape)


def check_sizes(workload: Workload, graph: Graph) -> None:
    """Refuse sizes that are not positive whole numbers, and phases the model cannot do."""
    least = {"batch": 1, "isl": 1, "osl": 1, "context": 0}
    for name, smallest in least.items():
        _whole(name, getattr(workload, name), smallest)
    for name, value in workload.symbols.items():
        _whole(name, value, 1)
        if name not in graph.symbols:
            raise BadInput(f"{graph.name} has no size {name!r}", expected=", ".join(graph.symbols) or "no free sizes")
    for group in workload.groups:
        for name, smallest in (("count", 1), ("new", 1), ("cached", 0)):
            _whole(f"groups {name}", getattr(group, name), smallest)
    if workload.training.micro_batch is not None:
        _whole("micro_batch", workload.training.micro_batch, 1)
        if np.any(np.asarray(workload.batch) % np.asarray(workload.training.micro_batch)):
            raise BadInput(
                f"micro-batch {workload.training.micro_batch} does not divide the batch {workload.batch}",
                expected="a divisor of the batch",
            )
    if workload.phase in ("prefill", "decode", "generate") and not graph.attrs.get("causal", False):
        raise BadInput(
            f"{graph.name} does not generate tokens, so it has no {workload.phase} phase", expected="--phase forward"
        )
    static = graph.attrs.get("static", ())
    for name in static:
        wanted = workload.batch if name == "batch" else workload.symbols.get(name)
        if wanted is not None and np.any(np.asarray(wanted) != graph.symbols.get(name)):
            raise BadInput(
                f"the capture of {graph.name} holds at {name} = {graph.symbols.get(name)} only",
                hint=f"give --input with the {name} you want",
            )


def _whole(name: str, value: Value, least: int) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)):
        raise BadInput(f"{name} is {value!r}", expected="a whole number")
    if np.any(array < least):
        raise BadInput(f"{name} is {np.min(array):g}", expected=f"at least {least}")
    if np.any(array > 1e12):
        raise BadInput(f"{name} is {np.max(array):g}", expected="at most 10^12")


def _in_chunks(resolved: Resolved, shape: tuple[int, ...]) -> Prediction:
    """Slice the longest axis so that no temporary holds more than CHUNK points; join the totals."""
    axis = int(np.argmax(shape))
    back = axis - len(shape)  # counted from the right, as broadcasting does
    step = max(1, CHUNK * shape[axis] // int(np.prod(shape)))
    pieces = []
    for start in range(0, shape[axis], step):

        def cut(array: np.ndarray, start: int = start) -> np.ndarray:
            if array.ndim < -back or array.shape[back] == 1:
                return array
            index = [slice(None)] * array.ndim
            index[back] = slice(start, start + step)
            return array[tuple(index)]

        part = Resolved(
            map_arrays(resolved.scenario, cut), resolved.graph, map_arrays(resolved.machine, cut), resolved.stack,
            resolved.assumptions,
        )  # fmt: skip
        pieces.append(_predict(part, details=False))
    sizes = [min(step, shape[axis] - start) for start in range(0, shape[axis], step)]
    return _join(pieces, resolved.scenario, shape, axis, sizes)


def _join(
    pieces: list[Prediction], scenario: Scenario, shape: tuple[int, ...], axis: int, sizes: list[int]
) -> Prediction:
    """One prediction from the pieces of a sweep, every number of the sweep's whole shape."""
    first = pieces[0]

    def join(values: list[Any]) -> Any:
        head = values[0]
        if isinstance(head, Mapping):
            return {k: join([v[k] for v in values]) for k in head}
        if dataclasses.is_dataclass(head) and not isinstance(head, type):
            changes = {f.name: join([getattr(v, f.name) for v in values]) for f in dataclasses.fields(head)}
            return dataclasses.replace(head, **changes)
        if isinstance(head, (float, int, np.ndarray, np.generic)) and not isinstance(head, bool):
            if len(values) == 1:
                return np.broadcast_to(head, shape)
            slices = [
                np.broadcast_to(value, (*shape[:axis], size, *shape[axis + 1 :]))
                for size, value in zip(sizes, values, strict=True)
            ]
            return np.concatenate(slices, axis=axis)
        return head

    names = (
        "time", "low", "high", "limit", "bound", "flops", "flops_dense", "bytes", "mfu", "mbu", "throughput", "memory",
        "least", "ttft", "tpot",
    )  # fmt: skip
    changes = {name: join([getattr(p, name) for p in pieces]) for name in names}
    return dataclasses.replace(first, scenario=scenario, **changes)


def _predict(resolved: Resolved, *, details: bool) -> Prediction:
    scenario, graph, machine, stack = resolved.scenario, resolved.graph, resolved.machine, resolved.stack
    program = scenario.program
    workload = program.workload
    train = workload.phase == "train"
    if train and np.any(np.asarray(program.parallel.dp) > 1):
        raise Unsupported("data-parallel training is not executed by this version", expected="--dp 1")
    ranks = place(graph, program.parallel)[0]
    made = plan(graph, stack, (workload.training.optimizer, workload.training.recompute) if train else None)
    parts = run_phase(resolved, made, ranks.dims)
    time = _total(parts, "time")
    least: dict[str, Value] = {}
    for result, weight, mean in parts.results:
        for resource, seconds in result.least.items():
            least[resource] = least.get(resource, 0.0) + _weighted(seconds, weight, mean)
    limit: Value = 0.0
    for seconds in least.values():
        limit = maximum(limit, seconds)
    time = maximum(time, limit)
    low, high = intervals.uncalibrated(time)
    devices = world(program.parallel)
    flops, dense, moved = (_total(parts, name) * devices for name in ("flops", "dense", "bytes"))
    peak = _peak_used(parts, machine, scenario)
    ledger = memory_of(parts, resolved, made, ranks.dims)
    rows = op_rows(parts, machine) if details else ()
    main = machine.main.resource
    prediction = Prediction(
        scenario=scenario,
        model=_model_facts(graph),
        machine={
            "id": machine.id, "device": machine.device_id, "name": machine.name, "n_devices": machine.n_devices,
            "used": devices, "usd_per_hour": machine.price.usd_per_hour,
        },
        stack=stack.id,
        phase=workload.phase,
        layer="limit" if stack.name == "ideal" else "analytic",
        time=time, low=low, high=high, limit=limit,
        bound=_bound(parts, machine, rows if details else None),
        flops=flops, flops_dense=dense, bytes=moved,
        mfu=None if peak is None else flops / devices / (time * peak.flops),
        mbu=least.get(main, 0.0) / time,
        throughput=_throughput(workload, graph, time, program.parallel.dp, devices),
        memory=ledger,
        tiers={machine.main.name: {"total": ledger.total, "capacity": ledger.capacity, "fits": ledger.fits}},
        peak_used=peak,
        least=least,
        ops=rows,
        coverage=_coverage(graph, parts),
        ttft=_ttft(parts, workload),
        tpot=_tpot(parts, workload),
        attrs={"hash": scenario_hash(scenario), "roofs": _roofs(machine, peak)} if details else {},
        notes=machine.notes,
    )  # fmt: skip
    return _explained(prediction, resolved, made, ranks.dims, parts) if details else prediction


def _explained(
    prediction: Prediction, resolved: Resolved, made: Plan, dims: Mapping[str, Value], parts: Parts
) -> Prediction:
    from .why import crossovers, sensitivities

    return dataclasses.replace(
        prediction,
        sensitivities=sensitivities(resolved, made, dims, prediction.time),
        crossovers=crossovers(resolved, made, dims),
        assumptions=assumptions_of(resolved, prediction, parts.error),
    )


def free_symbols(graph: Graph, workload: Workload) -> dict[str, Value]:
    """Values of a captured module's own dimensions: the question's, else the capture's."""
    symbols: dict[str, Value] = {**graph.symbols, **workload.symbols}
    if "batch" in graph.symbols:
        symbols["batch"] = workload.batch
    return symbols


def run_phase(
    resolved: Resolved, made: Plan, dims: Mapping[str, Value], machine: Machine | None = None, ndim: int = 0
) -> Parts:
    """Price the phase's steps, on another machine than the scenario's if given (whose arrays have ``ndim`` axes).

    ``generate`` is a prefill and osl − 1 decode steps over a growing context, integrated as :mod:`.growing` says.
    """
    scenario = resolved.scenario
    workload = scenario.program.workload
    chosen = machine if machine is not None else resolved.machine
    symbols = free_symbols(resolved.graph, workload)

    def run(step: Step) -> StepResult:
        return evaluate_step(made, step, chosen, scenario.point, resolved.stack, dims, symbols, throttle)

    throttle = clock_under_limit(chosen, scenario.point)
    if workload.phase != "generate":
        return Parts(((run(single_step(workload)), 1.0, False),))
    prefill = run(Step("prefill", workload.groups or (Group(workload.batch, workload.isl, 0),), 1, 0, False))
    steps = workload.osl - 1
    ndim = max(ndim, len(shape_of(scenario)))
    context, share = growing.contexts(workload.isl, steps, ndim)
    decode = run(Step("decode", (Group(workload.batch, 1, context),), 1, 0, False))
    error = growing.relative_error(decode.time, ndim)
    return Parts(((prefill, 1.0, False), (decode, share * steps, True)), error)


def _weighted(value: Value, weight: Value, nodes: bool) -> Value:
    """Σ weight · value; over the leading axis of context nodes where there is one."""
    if not nodes:
        return value * weight
    return growing.over_nodes(value, weight)


def _total(parts: Parts, name: str) -> Value:
    result: Value = 0.0
    for step, weight, nodes in parts.results:
        result = result + _weighted(getattr(step, name), weight, nodes)
    return result


def op_rows(parts: Parts, machine: Machine) -> tuple[OpRow, ...]:
    """Rows of all kernels and gaps; kernels that never run are left out."""
    names = bound_names(tuple(f"link:{d.name}" for d in machine.domains))
    rows: list[OpRow] = []
    several = len(parts.results) > 1
    for step, weight, nodes in parts.results:
        label = step.step.name if several else ""
        for (block, phase, kernels), passage in zip(step.blocks, step.timeline.passages, strict=True):
            for priced in kernels:
                cost, kernel = priced.cost, priced.kernel

                def sum_of(value: Value, count: Value = priced.count, w: Value = weight, n: bool = nodes) -> Value:
                    return _weighted(value * count, w, n)

                count = sum_of(1.0)
                if not count:
                    continue
                busiest: Value = 0.0
                for seconds in cost.busy.values():
                    busiest = maximum(busiest, seconds)
                bound = cost.bound
                index = int(np.ravel(bound)[np.size(bound) // 2])
                rows.append(
                    OpRow(
                        kernel.name, kernel.path, kernel.kind, count, sum_of(cost.time), sum_of(busiest),
                        sum_of(cost.limit), names[index], sum_of(cost.flops), sum_of(cost.bytes), phase, label,
                    )
                )  # fmt: skip
            gap = _weighted(passage.gap, weight, nodes)
            if gap > 0:
                rows.append(
                    OpRow(f"{block}.gap", block, "gap", 1.0, gap, gap, 0.0, "launch", 0.0, 0.0, phase, label)
                )
    return tuple(rows)


def _bound(parts: Parts, machine: Machine, rows: tuple[OpRow, ...] | None) -> Any:
    """The bound most of the time is spent under: by name for a scalar, an array of names for a sweep."""
    if rows is not None:
        shares: dict[str, Any] = {}
        for row in rows:
            shares[row.bound] = shares.get(row.bound, 0.0) + row.time
        return max(shares, key=lambda k: shares[k]) if shares else "latency"
    names = bound_names(tuple(f"link:{d.name}" for d in machine.domains))
    spent: list[Value] = [0.0] * len(names)
    for step, weight, nodes in parts.results:
        for (_, _, kernels), passage in zip(step.blocks, step.timeline.passages, strict=True):
            for priced in kernels:
                seconds = priced.cost.time * priced.count
                for index in np.flatnonzero(np.bincount(np.ravel(priced.cost.bound))).tolist():
                    here = seconds * (priced.cost.bound == index)
                    spent[index] = spent[index] + _weighted(here, weight, nodes)
            launch = names.index("launch")
            spent[launch] = spent[launch] + _weighted(passage.gap, weight, nodes)
    best: Value = spent[0]
    which: Value = np.zeros(np.shape(best), dtype=int)
    for index, seconds in enumerate(spent[1:], start=1):
        better = seconds > best
        which = np.where(better, index, which)
        best = maximum(best, seconds)
    return np.asarray(names, dtype=object)[which]


def _peak_used(parts: Parts, machine: Machine, scenario: Scenario) -> PeakFact | None:
    """The matrix peak of the format that does most of the linear layers' and convolutions' FLOPs.

    Attention is left out of the choice where there is a choice: its share grows with the context, and the peak an answer
    is measured against should not change half-way through a sweep.
    """
    amounts: dict[tuple[str, str | None], float] = {}
    families = {p.kernel.family for step, _, _ in parts.results for _, _, ks in step.blocks for p in ks}
    counted = families - {"attention"} if families & {"matmul", "conv"} else families
    for step, _, _ in parts.results:
        for _, _, kernels in step.blocks:
            for priced in kernels:
                for work in priced.kernel.work:
                    if work.unit == "matmul" and priced.kernel.family in counted:
                        key = (work.format, work.accumulate)
                        amount = float(np.mean(priced.cost.flops * priced.count))
                        amounts[key] = amounts.get(key, 0.0) + amount
    if not amounts:
        return None
    number_format, accumulate = max(amounts, key=lambda k: amounts[k])
    used = peak_for(machine, "matmul", number_format, accumulate, scenario.point)
    return PeakFact(used.format, used.accumulate, used.flops, used.grade)


def _roofs(machine: Machine, peak: PeakFact | None) -> dict[str, dict[str, Value]]:
    """What a roofline draws, per device: rates of the matrix and vector units, bandwidths of caches and main memory."""
    compute = {p.unit: p.flops for p in machine.engine.peaks if p.unit == "vector" and p.format == "fp32"}
    if peak is not None:
        compute = {f"{peak.format} matmul": peak.flops, **compute}
    memory = {t.name: t.bandwidth for t in machine.tiers if t.role in ("cache", "sram", "main")}
    return {"compute": compute, "memory": memory}


def _model_facts(graph: Graph) -> dict[str, Any]:
    known = _FACTS.get(graph)
    if known is None:
        dims = stats.unsharded(graph)
        from .._foundation.expr import evaluate

        known = {
            "id": graph.name,
            "params": stats.parameters(graph),
            "active_params": stats.active_parameters(graph),
            "weight_bytes": float(evaluate(stats.kept(graph, "weight"), dims)),
            "kv_bytes_per_token": stats.kv_bytes_per_token_short(graph) if graph.attrs.get("causal") else None,
        }
        _FACTS[graph] = known
    return dict(known)


_FACTS: dict[Graph, dict[str, Any]] = {}


def _throughput(workload: Workload, graph: Graph, time: Value, dp: Value, devices: Value) -> dict[str, Any]:
    if graph.attrs.get("kind") == "transformer":
        unit = "tokens/s"
        per_call = {
            "decode": workload.batch, "prefill": workload.batch * workload.isl, "forward": workload.batch * workload.isl,
            "train": workload.batch * workload.isl, "generate": workload.batch * workload.osl,
        }[workload.phase]  # fmt: skip
        if workload.groups:
            per_call = sum(g.count * g.new for g in workload.groups)
    else:
        unit, per_call = "samples/s", workload.batch
    value = per_call * dp / time
    return {"value": value, "unit": unit, "per_device": value / devices}


def _ttft(parts: Parts, workload: Workload) -> Value | None:
    return parts.results[0][0].time if workload.phase in ("generate", "prefill") else None


def _tpot(parts: Parts, workload: Workload) -> Value | None:
    """Mean seconds per output token after the first; undefined (None) for a single token."""
    if workload.phase == "decode":
        return parts.results[0][0].time
    if workload.phase != "generate":
        return None
    steps = workload.osl - 1
    if not isinstance(steps, np.ndarray) and steps == 0:
        return None
    step, weight, nodes = parts.results[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return _weighted(step.time, weight, nodes) / steps


def _coverage(graph: Graph, parts: Parts) -> Coverage:
    unknown = tuple(graph.attrs.get("unknown_ops", ()))
    if not unknown:
        return Coverage()
    total = missing = 0.0
    for step, _, _ in parts.results:
        for _, _, kernels in step.blocks:
            for priced in kernels:
                size = float(np.mean(priced.cost.bytes * priced.count))
                total += size
                missing += size if priced.kernel.kind == "other" else 0.0
    return Coverage(1.0, 1.0 - missing / total if total else 1.0, unknown)


