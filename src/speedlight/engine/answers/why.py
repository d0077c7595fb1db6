"""Why, and what would move it: sensitivities and crossovers, each one more evaluation over an array axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..._foundation.arrays import Value
from ...stacks.stack import Stack
from ...workload.workload import Group, Step, decode_step
from ..programs.chain import Link, as_one, run_chain
from ..questions.resolve import Plan, Resolved
from ..steps.evaluate import least_of_kernels
from ..steps.phase import free_symbols, total
from .prediction import Crossover, Sensitivity

CHANGE = 1.10


def sensitivities(links: Sequence[Link], time: float) -> tuple[Sensitivity, ...]:
    """What 10 % more of each resource would bring, one at a time; largest gain first."""
    machine = links[0].resolved.machine
    names = ["memory bandwidth", "matrix and vector peaks", "cache bandwidth", "link bandwidth", "launch cost"]
    one = np.ones(len(names))

    def only(index: int, factor: float) -> np.ndarray:
        column = one.copy()
        column[index] = factor
        return column

    changed = machine.scaled(f"tiers.{machine.main.name}.bandwidth", only(0, CHANGE)).scaled("peaks", only(1, CHANGE))
    if machine.last_cache is not None:
        changed = changed.scaled(f"tiers.{machine.last_cache.name}.bandwidth", only(2, CHANGE))
    changed = changed.scaled("links", only(3, CHANGE))
    faster = only(4, 1 / CHANGE)
    changed = changed.scaled(f"engines.{machine.engine.name}.launch_latency_s", faster)

    def quicker(stack: Stack) -> Stack:
        host = dataclasses.replace(stack.host, launch_s=stack.host.launch_s * faster, step_s=stack.host.step_s * faster)
        return dataclasses.replace(stack, host=host)

    changed_links = [
        dataclasses.replace(link, resolved=dataclasses.replace(link.resolved, stack=quicker(link.resolved.stack)))
        for link in links
    ]
    times = np.broadcast_to(total(as_one(changed_links, run_chain(changed_links, changed, ndim=1)), "time"), one.shape)
    found = [
        Sensitivity(name, "-10 %" if name == "launch cost" else "+10 %", float(time / t - 1))
        for name, t in zip(names, times, strict=True)
    ]
    return tuple(sorted((s for s in found if s.gain > 5e-4), key=lambda s: -s.gain))


def crossovers(resolved: Resolved, made: Plan, dims: Mapping[str, Value]) -> tuple[Crossover, ...]:
    """Where the speed of light changes its resource along the batch and the context, and where linear layers do
    along the tokens of a step; everything else as asked."""
    scenario = resolved.scenario
    workload = scenario.program.workload
    graph = resolved.graph
    symbols = free_symbols(graph, workload)
    found: list[Crossover] = []
    grid = np.array(sorted(set(np.round(2 ** np.arange(0, 15.01, 0.25)).tolist())))

    def run(step: Step, batch: Value) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
        free = {**symbols, "batch": batch} if "batch" in symbols else symbols
        every: dict[str, Value] = {}
        linear: dict[str, Value] = {}
        for kernel, least, count in least_of_kernels(
            made, step, resolved.machine, scenario.point, resolved.stack, dims, free
        ):
            for name, seconds in least.items():
                every[name] = every.get(name, 0.0) + seconds * count
                if kernel.family == "matmul":
                    linear[name] = linear.get(name, 0.0) + seconds * count
        return every, linear

    if graph.attrs.get("kind") == "transformer":
        decode = workload.phase in ("decode", "generate")
        length: Value = 1 if decode else workload.isl
        cached = (workload.context if workload.phase == "decode" else workload.isl) if decode else 0
        caching, all_logits = int(workload.phase in ("decode", "generate", "prefill")), not decode
        training = int(workload.phase == "train")
        name = "decode" if decode else workload.phase
        step = Step(name, (Group(grid, length, cached),), caching, training, all_logits and not caching)
        found += _changes("batch", grid, run(step, grid)[0], "step")
        if decode:
            step = decode_step(workload.batch, grid)
            found += _changes("context", grid, run(step, workload.batch)[0], "step")
        step = Step(name, (Group(grid, 1, 0),), caching, training, True)
        found += _changes("tokens", grid, run(step, grid)[1], "linear layers")
    elif "batch" in graph.symbols and "batch" not in graph.attrs.get("static", ()):
        step = Step(workload.phase, (Group(grid, 1, 0),), 0, int(workload.phase == "train"), True)
        found += _changes("batch", grid, run(step, grid)[0], "step")
    return tuple(found)


def _changes(along: str, grid: np.ndarray, least: Mapping[str, Value], of: str) -> list[Crossover]:
    """Sizes at which another resource becomes the largest; between grid points by the crossing of two power laws."""
    names = [n for n in least if np.any(np.asarray(least[n]) > 0)]
    if len(names) < 2:
        return []
    table = np.stack([np.broadcast_to(np.asarray(least[n], dtype=float), grid.shape) for n in names])
    top = np.argmax(table, axis=0)
    found = []
    for i in np.flatnonzero(np.diff(top)):
        a, b = top[i], top[i + 1]
        gap = np.log(np.maximum(table[a, i : i + 2], 1e-300)) - np.log(np.maximum(table[b, i : i + 2], 1e-300))
        share = gap[0] / (gap[0] - gap[1]) if gap[0] != gap[1] else 0.0
        at = float(np.exp(np.log(grid[i]) + share * (np.log(grid[i + 1]) - np.log(grid[i]))))
        found.append(Crossover(along, at, names[a], names[b], of))
    return found
