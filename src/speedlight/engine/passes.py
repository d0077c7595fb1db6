"""A step and its forward pass, with intervals, also trained on several devices by data or pipeline parallelism.

Tensor parallelism is in the graph. Data parallelism gives each replica its share of the batch and reduces gradients behind the
backward pass; a pipeline (GPipe) gives each stage its share of the layers.

A stack may say two things of whole programs under ``attrs``:

* ``whole``: by how well their kernels are known, logs of the 10 % and 90 % quantiles of measured over predicted, which take the
  place of the kernels' own interval (kernels err together, and what stands between them errs too);
* ``allocator``: from which share of the memory on (``full``) it gives back what it holds and maps it again, so that every
  activation of the forward pass is paid for at ``remap`` bytes a second.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._foundation.errors import BadInput
from .._foundation.expr import const, evaluate
from ..costs.calibrated import calibrate
from ..costs.cost import Conditions, Cost
from ..costs.price import price
from ..graph.ir import Block, Graph, Message
from ..lowering.kernels import Kernel, KernelValues
from ..lowering.ledger import Ledger
from ..scenario.scenario import Parallel, Scenario
from ..schedule.layouts import behind, pipeline
from ..schedule.serial import Timeline
from . import intervals
from .evaluate import StepResult
from .memory import memory_of
from .phase import Parts, run_phase
from .resolve import Plan, Resolved, planned, resolve, with_fabric
from .sizes import check_sizes
from .summary import layer


@dataclass(frozen=True, slots=True)
class Spell:
    """Seconds of a step or one of its passes: expected, least, and the ends of the 80 % interval."""

    time: float
    limit: float
    low: float
    high: float

    def within(self, ends: Sequence[float]) -> Spell:
        """With another interval: logs of the factors to its ends."""
        low, high = (self.time * math.exp(end) for end in (min(ends[0], 0.0), max(ends[1], 0.0)))
        return dataclasses.replace(self, low=max(low, min(self.limit, self.time)), high=high)

    def times(self, factor: float, extra: float = 0.0, least: float = 1.0) -> Spell:
        """Scaled, with seconds added that nothing shortens; ``least`` is the share of the limit that stays one."""
        limit = self.limit * least
        ends = [max(v * factor + extra, limit) for v in (self.time, self.low, self.high)]
        return Spell(ends[0], limit, ends[1], ends[2])


@dataclass(frozen=True, slots=True)
class Passes:
    """A step and its forward pass.

    Attributes:
        fits: whether the fullest device holds it.
        layer: what the times rest on.
        depth: how well most of its kernels' time is known (``known``, ``relative``, ``stranger``; "" by no fit).
    """

    step: Spell
    forward: Spell
    fits: bool
    layer: str
    depth: str


def passes(scenario: Scenario, without: str = "") -> Passes:
    """One step of a scenario without arrays.

    Args:
        without: a device whose rows nothing may rest on: what the stack's ``allocator`` was read from is left out for it.

    Raises:
        BadInput: for a batch its replicas or micro-batches do not divide, or more stages than layers.
        As :func:`.predict.predict` otherwise.
    """
    program = scenario.program
    parallel, workload = program.parallel, program.workload
    replicas, stages = int(parallel.dp), int(parallel.pp)
    micro = workload.training.micro_batch
    count = int(workload.batch // micro) if stages > 1 and micro is not None else 1
    for name, number in (("data-parallel replicas", replicas), ("micro-batches", count)):
        if workload.batch % number:
            raise BadInput(f"a batch of {workload.batch} over {number} {name}", expected="a divisor of the batch")
    share = workload.batch // replicas // count
    alone = scenario.with_program(
        parallel=Parallel(tp=parallel.tp, ep=parallel.ep),
        workload=dataclasses.replace(
            workload, batch=share, training=dataclasses.replace(workload.training, micro_batch=None)
        ),
    )
    resolved = resolve(alone)
    check_sizes(alone.program.workload, resolved.graph)
    made, dims = planned(resolved)
    parts = run_phase(resolved, made, dims)
    result = parts.results[0][0]
    step, forward = spell(result, ("forward", "backward", "optimizer")), spell(result, ("forward",))
    ledger = memory_of(parts, resolved, made, dims)
    allocator = resolved.stack.attrs.get("allocator", {})
    if workload.phase == "train" and allocator and without not in allocator.get("seen_on", ()):
        lost = _remapped(ledger, allocator)
        step, forward = step.times(1.0, lost), forward.times(1.0, lost)
    if stages > 1:
        step, forward = _pipelined(result, step, forward, stages, count)
    elif replicas > 1 and workload.phase == "train":
        step = _replicated(resolved, made, dims, result, step, replicas)
    depth = depth_of(result)
    ends = resolved.stack.attrs.get("whole", {}).get(depth)
    if ends is not None:
        step, forward = step.within(ends), forward.within(ends)
    return Passes(step, forward, bool(ledger.fits), layer(parts, resolved.stack), depth)


def depth_of(result: StepResult) -> str:
    """How well the fit knows the kernels that most of the time goes to."""
    shares: dict[str, float] = {}
    for _, _, kernels in result.blocks:
        for priced in kernels:
            depth = priced.cost.error_key[2]
            shares[depth] = shares.get(depth, 0.0) + float(priced.cost.time * priced.count)
    return max(shares, key=lambda name: shares[name], default="")


def _remapped(ledger: Ledger, allocator: Mapping[str, float]) -> float:
    """Seconds a full device spends on mapping memory for the forward pass's results."""
    if float(ledger.total) < allocator["full"] * float(ledger.capacity):
        return 0.0
    return float(ledger.by_class["activations"]) / allocator["remap"]


def spell(result: StepResult, phases: Sequence[str]) -> Spell:
    """Seconds and interval of the blocks of some phases."""
    chosen = [i for i, (_, phase, _) in enumerate(result.blocks) if phase in phases]
    passages = tuple(result.timeline.passages[i] for i in chosen)
    time = sum(p.count * p.device + p.gap for p in passages)
    blocks = tuple(result.blocks[i] for i in chosen)
    limit = _limit(blocks)
    costs = tuple((k.cost, k.count) for _, _, kernels in blocks for k in kernels)
    some = dataclasses.replace(
        result, time=time, limit=limit, blocks=blocks, costs=costs, timeline=Timeline(time, passages)
    )
    time = max(time, limit)
    low, high = intervals.interval(Parts(((some, 1.0, False),)), time, limit)
    return Spell(float(time), float(limit), float(low), float(high))


def _limit(blocks: Sequence[tuple[str, str, tuple]]) -> float:  # type: ignore[type-arg]
    """The busiest resource's least seconds."""
    least: dict[str, float] = {}
    for _, _, kernels in blocks:
        for priced in kernels:
            for resource, seconds in priced.cost.least.items():
                least[resource] = least.get(resource, 0.0) + float(seconds * priced.count)
    return max(least.values(), default=0.0)


# pipelines -------------------------------------------------------------------------------------------------------------


def _pipelined(result: StepResult, step: Spell, forward: Spell, stages: int, count: int) -> tuple[Spell, Spell]:
    """Layers dealt evenly to stages; what comes before and after them goes to the first and the last stage."""
    total: dict[bool, float] = {}
    for ahead in (True, False):
        ends, inner = [0.0, 0.0], 0.0
        seen = False
        for (_, phase, _), passage in zip(result.blocks, result.timeline.passages, strict=True):
            if (phase == "forward") is not ahead:
                continue
            seconds = float(passage.count * passage.device + passage.gap)
            if passage.count > 1:
                if passage.count < stages:
                    raise BadInput(
                        f"{stages} pipeline stages of {passage.count:g} layers", expected="a layer for each stage"
                    )
                inner, seen = inner + seconds, True
            else:
                ends[seen] += seconds
        deal = [inner / stages] * stages
        deal[0], deal[-1] = deal[0] + ends[0], deal[-1] + ends[1]
        total[ahead] = float(pipeline(deal, count))
    least = count / stages  # every stage busy all the time
    ratio = (total[True] + total[False]) / step.time
    return step.times(ratio, least=least), forward.times(total[True] / forward.time, least=least)


# replicas --------------------------------------------------------------------------------------------------------------


def _replicated(
    resolved: Resolved, made: Plan, dims: Mapping[str, object], result: StepResult, step: Spell, replicas: int
) -> Spell:
    """The step with its gradients reduced over the replicas."""
    parts: list[tuple[float, float, float]] = []
    before = 0.0
    shared = _gradient_bytes(made.graph, None, dims)
    rows = list(zip(made.graph.blocks, result.blocks, result.timeline.passages, strict=True))
    for index, (block, (_, phase, _), passage) in enumerate(rows):
        seconds = float(passage.device + passage.gap / max(passage.count, 1.0))
        if phase != "backward":
            before += float(passage.count) * seconds
            continue
        moved = _gradient_bytes(made.graph, block, dims)
        if index == len(rows) - 1:
            moved += shared
        parts.append((float(passage.count), seconds, reduction(resolved, moved, replicas) if moved else 0.0))
    computed = sum(count * seconds for count, seconds, _ in parts)
    exposed = float(behind(parts)) - computed
    return step.times(1.0, exposed)


def _gradient_bytes(graph: Graph, block: Block | None, dims: Mapping[str, object]) -> float:
    """Bytes of gradients one instance of a block leaves; of those that blocks share for None."""
    tensors = graph.shared if block is None else block.tensors
    kept = [t.bytes for t in tensors.values() if t.cls == "gradient"]
    env = {name: float(value) for name, value in dims.items()}  # type: ignore[arg-type]
    return sum(float(evaluate(size, env)) for size in kept)


def reduction(resolved: Resolved, moved: float, ranks: int) -> float:
    """Seconds of an all-reduce of so many bytes, by the measured library where there is one."""
    machine, _ = with_fabric(resolved.machine, ranks)
    message = Message("all_reduce", ("dp",), const(ranks), const(moved))
    kernel = Kernel(
        name="gradients", path="", kind="collective", fn="all_reduce", family="collective", members=(), work=(), accesses=(),
        dims={}, count=const(1), workspace=const(0), message=message, library=resolved.stack.library, phase="backward",
    )  # fmt: skip
    values = KernelValues(1.0, 1.0, 1.0, (), (), (), (), (), {}, (moved, float(ranks), ()))
    point = resolved.scenario.point
    conditions = Conditions("in-model", step="train")
    cost: Cost = price(kernel, values, machine, point, conditions)
    return float(calibrate(kernel, values, machine, point, conditions, cost).time)
