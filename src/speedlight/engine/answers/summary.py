"""Priced steps → what an answer says of them: op rows, the bound, the peak, throughput, coverage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, added, maximum, minimum
from ..._foundation.formats import dense_of
from ...costs.cost import Cost, bound_names, largest
from ...costs.price import peak_for
from ...graph.ir import Graph
from ...hardware.machine import Machine
from ...lowering.kernels import Kernel
from ...lowering.ledger import Ledger
from ...scenario.scenario import Scenario
from ...stacks.stack import Stack
from ...workload.workload import Workload
from ..steps.phase import Parts, free_symbols, weighted
from .prediction import Coverage, OpRow, PeakFact


@dataclass(frozen=True, slots=True)
class Piece:
    """A row of an answer and the cost behind it (none behind a gap).

    Attributes:
        over: a figure of one instance → of all of them over the call.
    """

    row: OpRow
    kernel: Kernel | None = None
    cost: Cost | None = None
    over: Callable[[Value], Value] = float


def pieces(parts: Parts, machine: Machine) -> tuple[Piece, ...]:
    """Rows of all kernels and gaps; kernels that never run are left out."""
    found: list[Piece] = []
    several = len(parts.results) > 1
    for index, (step, weight, nodes) in enumerate(parts.results):
        names = step.names or bound_names(machine)
        stage = parts.stages[index] if parts.stages else ""
        alone = not stage or parts.stages.count(stage) == 1
        label = " ".join(filter(None, (stage, "" if stage and alone else step.step.name))) if several else ""
        within = f"{stage}." if stage else ""
        for (block, phase, kernels), passage in zip(step.blocks, step.timeline.passages, strict=True):
            for priced in kernels:
                cost, kernel = priced.cost, priced.kernel

                def over(value: Value, count: Value = priced.count, w: Value = weight, n: bool = nodes) -> Value:
                    return weighted(value * count, w, n)

                count = over(1.0)
                if not count:
                    continue
                bound = cost.bound
                most = int(np.ravel(bound)[np.size(bound) // 2])
                time = over(cost.time) if priced.exposed is None else weighted(priced.exposed, weight, nodes)
                least = over(cost.limit)
                if priced.exposed is not None:  # of what others cover, no more than shows
                    least = minimum(least, time)
                row = OpRow(
                    kernel.name, within + kernel.path, kernel.kind, count, time, over(largest(cost.busy)), least,
                    names[most], over(cost.flops), over(cost.bytes), phase, label,
                )  # fmt: skip
                found.append(Piece(row, kernel, cost, over))
            gap = weighted(passage.gap, weight, nodes)
            if gap > 0:
                home = within + (_home([priced.kernel.path for priced in kernels]) or block)
                row = OpRow(f"{block}.gap", home, "gap", 1.0, gap, gap, 0.0, "launch", 0.0, 0.0, phase, label)
                found.append(Piece(row))
        for wait in step.waits:
            seconds = weighted(wait.seconds, weight, nodes)
            if seconds > 0:
                row = OpRow(
                    f"{wait.name}.{wait.bound}", within + wait.name, "gap", 1.0, seconds, seconds, 0.0, wait.bound, 0.0, 0.0,
                    "backward", label,
                )  # fmt: skip
                found.append(Piece(row))
    return tuple(found)


def _home(paths: list[str]) -> str:
    """The innermost module that holds all of a block's kernels."""
    common: list[str] = []
    for level in zip(*(path.split(".") for path in paths), strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)


def bound(parts: Parts, machine: Machine, rows: tuple[OpRow, ...] | None) -> Any:
    """The bound most of the time is spent under: by name for a scalar, an array of names for a sweep."""
    if rows is not None:
        shares: dict[str, Any] = {}
        for row in rows:
            shares[row.bound] = shares.get(row.bound, 0.0) + row.time
        return max(shares, key=lambda k: shares[k]) if shares else "latency"
    spent: dict[str, Value] = {}
    for step, weight, nodes in parts.results:
        names = step.names or bound_names(machine)
        for name in names:
            spent.setdefault(name, 0.0)
        for cost, count in step.costs:
            seconds = cost.time * count
            for index in np.flatnonzero(np.bincount(np.ravel(cost.bound))).tolist():
                spent[names[index]] = spent[names[index]] + weighted(seconds * (cost.bound == index), weight, nodes)
        for passage in step.timeline.passages:
            spent["launch"] = spent["launch"] + weighted(passage.gap, weight, nodes)
        for wait in step.waits:
            spent[wait.bound] = spent[wait.bound] + weighted(wait.seconds, weight, nodes)
    found = list(spent)
    best: Value = spent[found[0]]
    which: Value = np.zeros(np.shape(best), dtype=int)
    for index, name in enumerate(found[1:], start=1):
        better = spent[name] > best
        which = np.where(better, index, which)
        best = maximum(best, spent[name])
    return np.asarray(found, dtype=object)[which]


def peak_used(parts: Parts, machine: Machine, scenario: Scenario) -> PeakFact | None:
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
                        key = (dense_of(work.format), work.accumulate)  # utilisation is one of dense peaks
                        amount = float(np.mean(priced.cost.flops * priced.count))
                        amounts[key] = amounts.get(key, 0.0) + amount
    if not amounts:
        return None
    number_format, accumulate = max(amounts, key=lambda k: amounts[k])
    used = peak_for(machine, "matmul", number_format, accumulate, scenario.point)
    return PeakFact(used.format, used.accumulate, used.flops, used.grade)


def layer(parts: Parts, stack: Stack) -> str:
    """What the times rest on: ``mixed`` where some of the kernels that run are calibrated and others analytic."""
    if stack.name == "ideal":
        return "limit"
    ran = [p for step, _, _ in parts.results for _, _, kernels in step.blocks for p in kernels if np.any(p.count)]
    found = {p.cost.layer for p in ran}
    return "mixed" if len(found) > 1 else next(iter(found), "analytic")


def tiers(ledger: Ledger, machine: Machine) -> dict[str, dict[str, Any]]:
    """CONTRACT's ``memory.tiers``: the device's memory, and what is kept outside it."""
    total, capacity = ledger.total, ledger.capacity
    found = {machine.main.name: {"total": total, "capacity": capacity, "fits": total <= capacity}}
    names = {t.role: t.name for t in machine.tiers}
    for role, size in ledger.elsewhere.items():
        found[names.get(role, role)] = {"total": size, "capacity": ledger.room[role], "fits": size <= ledger.room[role]}
    return found


def roofs(machine: Machine, peak: PeakFact | None) -> dict[str, dict[str, Value]]:
    """What a roofline draws, per device: rates of the matrix and vector units, bandwidths of caches and main memory."""
    compute = {p.unit: p.flops for p in machine.engine.peaks if p.unit == "vector" and p.format == "fp32"}
    if peak is not None:
        compute = {f"{peak.format} matmul": peak.flops, **compute}
    memory = {t.name: t.bandwidth for t in machine.tiers if t.role in ("cache", "sram", "main")}
    return {"compute": compute, "memory": memory}


def throughput(workload: Workload, graph: Graph, time: Value, dp: Value, devices: Value) -> dict[str, Any]:
    if graph.attrs.get("kind") == "transformer":
        unit = "tokens/s"
        per_call = {
            "decode": workload.batch, "prefill": workload.batch * workload.isl, "forward": workload.batch * workload.isl,
            "train": workload.batch * workload.isl, "generate": workload.batch * workload.osl,
        }[workload.phase]  # fmt: skip
        if workload.groups:
            per_call = sum(g.count * g.new for g in workload.groups)
    elif "items" in graph.attrs:
        name, symbol = graph.attrs["items"]
        unit, per_call = f"{name}/s", free_symbols(graph, workload)[symbol]
    elif graph.attrs.get("kind") == "op list" and "batch" not in graph.symbols:
        unit, per_call = "calls/s", 1
    else:
        unit, per_call = "samples/s", workload.batch
    value = per_call * dp / time
    return {"value": value, "unit": unit, "per_device": value / devices}


def ttft(parts: Parts, workload: Workload) -> Value | None:
    """Seconds to the first token: every program's prompt (a draft model reads it too)."""
    if workload.phase not in ("generate", "prefill"):
        return None
    prompts = [
        weighted(step.time, weight, nodes) for step, weight, nodes in parts.results if step.step.name == "prefill"
    ]
    return added(prompts) if prompts else parts.results[0][0].time


def tpot(parts: Parts, workload: Workload) -> Value | None:
    """Mean seconds per output token after the first; undefined (None) for a single token."""
    if workload.phase == "decode":
        return added([weighted(step.time, weight, nodes) for step, weight, nodes in parts.results])
    if workload.phase != "generate":
        return None
    steps = workload.osl - 1
    if not isinstance(steps, np.ndarray) and steps == 0:
        return None
    spent = added(
        [weighted(step.time, weight, nodes) for step, weight, nodes in parts.results if step.step.name == "decode"]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return spent / steps


def coverage(graph: Graph, parts: Parts) -> Coverage:
    """Shares understood. What an unknown op computes is unknown, so with one the share of FLOPs is None, not 1."""
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
    return Coverage(None, 1.0 - missing / total if total else 1.0, unknown)
