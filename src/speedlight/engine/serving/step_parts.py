"""What a serving step is made of: seconds by sort of kernel, as functions of tokens and of sequences.

A serving step mixes decoding sequences with pieces of prompts. Its kernels are of three sorts: those that see tokens only
(projections, experts, norms, messages), those that see decoding sequences with their context, and those that see prompts.
Each sort is priced where it runs alone — a pure decode step and a pure prefill step of the same plan — and a mixed step is
the sum (:mod:`.step_times` tabulates it).

Where attention is replicated (``adp`` > 1) the experts see the tokens of all replicas and every expert layer begins and ends
with an exchange of them; both are priced at the pool's size. In a pool of more groups of experts than a token picks, a token
is sent only where its experts are (:func:`sent`); narrower pools gather everything everywhere, as engines do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, maximum
from ..._foundation.expr import const
from ...costs.calibrated import calibrate
from ...costs.cost import Conditions
from ...costs.price import price
from ...graph.ir import Graph, Message
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ...placement.serving import Layout, dims_of
from ...stacks.stack import Stack
from ...workload.workload import Step, decode_step, prefill_step
from ..questions.resolve import Plan, Resolved, plan
from ..steps.evaluate import PricedKernel, StepResult, evaluate_step
from ..steps.phase import free_symbols
from ..steps.power import clock_under_limit
from .stages import Share, boxes

SORTS = ("gemm", "moe", "comm", "stream", "head", "decode", "prefill")
"""gemm, moe, comm, stream: by tokens; head: by sequences; decode, prefill: attention and what only it needs."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of one rank's step by sort of kernel (:data:`SORTS`), every value an array over the points asked.

    Attributes:
        seconds: by sort.
        launches: kernels started, all sorts together.
        limit: the step's least seconds, of all stages.
    """

    seconds: Mapping[str, np.ndarray]
    launches: np.ndarray
    limit: np.ndarray

    @property
    def time(self) -> np.ndarray:
        return np.asarray(np.sum([self.seconds[s] for s in SORTS], axis=0))


def decode_parts(
    resolved: Resolved, layout: Layout, batch: np.ndarray, context: np.ndarray, share: Share | None = None, new: int = 1
) -> Parts:  # fmt: skip
    """A step of ``batch`` sequences a replica, ``new`` tokens each on top of ``context`` (1, or drafts to verify and one); of all
    blocks, or of a stage's share."""
    return _parts(resolved, layout, decode_step(batch, context, new), batch * new, share)


def prefill_parts(
    resolved: Resolved, layout: Layout, count: np.ndarray, length: np.ndarray, share: Share | None = None
) -> Parts:  # fmt: skip
    """A step of ``count`` prompts a replica, ``length`` tokens each, nothing cached; of all blocks, or of a stage's share."""
    return _parts(resolved, layout, prefill_step(count, length), count * length, share)


def _parts(resolved: Resolved, layout: Layout, step: Step, tokens: np.ndarray, share: Share | None) -> Parts:
    resolved = dataclasses.replace(resolved, machine=boxes(resolved.machine, int(np.max(np.asarray(layout.ranks)))))
    made = plan(resolved.graph, resolved.stack, None)
    dims = dims_of(resolved.graph, layout)
    result = _evaluated(resolved, made, dims, step)
    sizes = [np.shape(v) for g in step.groups for v in (g.count, g.new, g.cached)]
    shape = np.broadcast_shapes(*sizes, *(np.shape(v) for v in dims.values()))
    seconds = {sort: np.zeros(shape) for sort in SORTS}
    launches = np.zeros(shape)
    pooled = np.asarray(layout.adp) > 1
    for priced, sort in sorted_kernels(result, step.name, share):
        seconds[sort] = seconds[sort] + priced.cost.time * priced.count
        launches = launches + priced.count
    if np.any(pooled):
        wide = Step(step.name, tuple(type(g)(g.count * layout.adp, g.new, g.cached) for g in step.groups), 1, 0, False)
        there = _evaluated(resolved, made, dims, wide)
        experts = sum(
            (p.cost.time * p.count for p, sort in sorted_kernels(there, step.name, share) if sort == "moe"),
            np.zeros(shape),
        )
        layers = sum(
            (p.count for p, sort in sorted_kernels(result, step.name, share) if sort == "moe"), np.zeros(shape)
        )
        moved = tokens * layout.adp * width_of(resolved) * 2.0 * sent(layout.moe_ep, routed(resolved.graph)[1])
        exchanged = exchange(resolved.machine, resolved.stack, layout.ranks, moved)
        seconds["moe"] = np.where(pooled, experts, seconds["moe"])
        seconds["comm"] = seconds["comm"] + np.where(pooled, layers * exchanged, 0.0)
    return Parts(seconds, launches, np.broadcast_to(np.asarray(result.limit, dtype=float), shape))


def _evaluated(resolved: Resolved, made: Plan, dims: Mapping[str, Value], step: Step) -> StepResult:
    point = resolved.scenario.point
    symbols = free_symbols(resolved.graph, resolved.scenario.program.workload)
    throttle = clock_under_limit(resolved.machine, point)
    return evaluate_step(made, step, resolved.machine, point, resolved.stack, dims, symbols, throttle)


def sorted_kernels(result: StepResult, step: str, share: Share | None = None) -> list[tuple[PricedKernel, str]]:
    """Every kernel of a step that runs, with its sort; as often as a stage's share of its block says."""
    found = []
    for block, _, kernels in result.blocks:
        if share is not None:
            kernels = tuple(dataclasses.replace(k, count=k.count * share[block]) for k in kernels)
        for priced in kernels:
            found.append((priced, _sort(priced.kernel, block, step)))
    return found


# Products that only one way of latent attention needs: decoding folds weights into queries and outputs, prompts expand keys.
_OF_ATTENTION = ("absorb", "kv_b")


def _sort(kernel: Kernel, block: str, step: str) -> str:
    if kernel.family == "attention" or any(f".{word}" in kernel.name for word in _OF_ATTENTION):
        return "decode" if step == "decode" else "prefill"
    if block == "head":
        return "head"
    if kernel.family == "collective":
        return "comm"
    if kernel.fn == "grouped_linear":
        return "moe"
    return "gemm" if kernel.family == "matmul" else "stream"


def width_of(resolved: Resolved) -> float:
    """The model's width: as its configuration says, or features an output projection leaves."""
    if resolved.graph.attrs.get("hidden"):
        return float(resolved.graph.attrs["hidden"])
    for _, op in resolved.graph.ops():
        if op.name.endswith("o_proj") and "n" in op.dims and op.dims["n"].constant is not None:
            return float(op.dims["n"].constant)
    return 0.0


def routed(graph: Graph, share: Share | None = None) -> tuple[float, float]:
    """(layers of experts, experts a token picks in one); zeros for dense models; of all blocks, or of a stage's share."""
    found = [
        (
            float(np.asarray(block.count.constant)) * (1.0 if share is None else share[block.name]),
            float(op.attrs["picks"]),
        )
        for block, op in graph.ops()
        if op.fn == "grouped_linear" and "picks" in op.attrs and op.name.endswith("down_proj")
    ]
    return sum(layers for layers, _ in found), max((picks for _, picks in found), default=0.0)


def sent(groups: Value, picks: float) -> np.ndarray:
    """Share of the pool's tokens that a rank sees: those with an expert in its group, picks falling on groups alike."""
    wide = np.asarray(groups, float)
    return np.where(wide > picks, 1.0 - (1.0 - 1.0 / np.maximum(wide, 1.0)) ** picks, 1.0)


def exchange(machine: Machine, stack: Stack, ranks: Value, moved: Value) -> Value:
    """Seconds of gathering all replicas' tokens before the experts and summing their results after (``moved`` bytes a rank ends up with)."""
    total: Value = 0.0
    for name in ("all_gather", "reduce_scatter"):
        kernel = Kernel(
            name=name, path="", kind="collective", fn=name, family="collective", members=(), work=(), accesses=(), dims={},
            count=const(1), workspace=const(0), message=Message(name, ("tp",), const(1), const(1)), library=stack.library,
        )  # fmt: skip
        values = KernelValues(
            1.0, 1.0, 1.0, (), (), (), (), (), {}, (moved, maximum(ranks, 1) * 1.0, ((maximum(ranks, 1) * 1.0, 1.0),))
        )
        conditions = Conditions("in-model", step="decode")
        cost = price(kernel, values, machine, conditions=conditions)
        total = total + calibrate(kernel, values, machine, OperatingPoint(), conditions, cost).time
    return total
