"""Inference with classes of tensors kept outside the device: what crosses, what is computed there, and what of it shows.

Of every kernel the bytes it reads and writes of a class are known; the share of them that lies outside comes over its whole path
(DESIGN decision 6: the link, each way on its own; the host's memory, as often as the stack passes through it; the disk).

* ``moved``: of a layer together, the next layer's while this one computes (:func:`...schedule.overlap.prefetched`), or before it
  where the stack waits (FlexGen, arXiv 2303.06865 §4.2; DeepSpeed-Inference, arXiv 2207.00032 §6).
* ``direct``: inside the kernel, which takes as long as its slowest resource.
* ``computed``: the processor there streams its part from its own memory while the device does the rest; inputs and results cross
  (Fiddler, arXiv 2402.07033; PowerInfer, arXiv 2312.12456). ``layers``: the two take turns (llama.cpp).

Devices in use share the box's memory, disks and processor evenly. What lands in the device's memory is not charged there again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum, where
from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ...costs.cost import Cost, bound_of, largest
from ...hardware.host import host_engine
from ...hardware.machine import Link, Machine, OperatingPoint, Tier
from ...lowering.kernels import Kernel, KernelValues
from ...lowering.ledger import Ledger
from ...placement.place import world
from ...schedule.overlap import prefetched
from ...schedule.serial import Passage, Timeline, serial
from ...stacks.transfers import Transfers, transfers_of
from ...workload.places import Place
from ...workload.workload import Step
from ..questions.resolve import Plan, Resolved
from ..steps.evaluate import PricedKernel, StepResult, bindings
from ..training.rows import plain
from .away_ledger import ROLES, moved_of, with_places

# Copies over PCIe reach three quarters to all of a link's rate per direction: protocol and packets (assumed).
SLOWER = math.log(1.35)


@dataclass(frozen=True, slots=True)
class Way:
    """The path from one device to what is kept outside, under a stack.

    Attributes:
        tiers: by role; ``sharing`` devices take equal parts of them.
    """

    link: Link
    tiers: Mapping[str, Tier]
    sharing: Value
    ways: Transfers
    machine: Machine
    point: OperatingPoint

    def room(self) -> dict[str, Value]:
        """Tier role → bytes a device may take."""
        return {role: tier.capacity_bytes / self.sharing for role, tier in self.tiers.items()}

    def rate(self, role: str) -> Value:
        """A device's part of a tier's bandwidth."""
        return self.tiers[role].bandwidth / self.sharing

    def over(self, place: Place, into: Value, out: Value) -> dict[str, Value]:
        """Busy seconds of the path for bytes into the device and out of it."""
        both, role = into + out, ROLES[place.tier]
        busy: dict[str, Value] = {
            f"link:{self.link.name}": maximum(into, out) / (self.link.bandwidth * self.point.fabric_clock)
        }
        passes = self.ways.passes
        if role == "storage":
            busy[self.tiers[role].resource] = both / self.rate(role)
            passes = 0.0 if self.ways.bypass else passes + 1.0  # the disk writes it there first
        if "host" in self.tiers:
            tier = self.tiers["host"]
            busy[tier.resource] = busy.get(tier.resource, 0.0) + both * passes / self.rate("host")
        if self.ways.copy:
            busy["host"] = both / self.ways.copy
        return busy

    def seconds(self, busy: Mapping[str, Value], amount: Value, pieces: Value) -> Value:
        """Until the last byte is there."""
        spent = largest(busy) if self.ways.piped else sum(busy.values(), 0.0)
        if self.ways.page_bytes:
            spent = spent + amount / self.ways.page_bytes * self.ways.fault_s / self.ways.faults
        return spent + where(np.asarray(amount) > 0, self.link.latency_s * pieces, 0.0)

    def computing(self, place: Place, amount: Value, flops: Value) -> dict[str, Value]:
        """Busy seconds of the processor beside a memory."""
        role = ROLES[place.tier]
        rate = self.rate(role) if place.rate is None else place.rate / (1.0 if role == "main" else self.sharing)
        busy = {self.tiers[role].resource: amount / rate}
        engine = host_engine(self.machine)
        if place.intensity is not None:
            busy["host" if role == "host" else "unit:near"] = flops / (rate * place.intensity)
        elif role == "host" and engine is not None:
            busy["host"] = flops / (engine.peak("vector", "fp32")[0].flops / self.sharing)
        return busy


def way_of(resolved: Resolved, machine: Machine) -> Way | None:
    """The path of a question that keeps something outside; None where it keeps all on the device.

    Raises:
        BadInput: for a machine without a link to a host, or without such a memory.
    """
    program = resolved.scenario.program
    places = program.workload.places
    if not places:
        return None
    link = next((k for k in machine.links if k.role == "host"), None)
    if link is None and all(place.tier == "memory" for place in places):
        link = Link("none", "host", 1.0)  # nothing crosses it
    if link is None:
        raise BadInput(f"{machine.id} states no link to its host", expected="a link of role host in its spec file")
    tiers = {t.role: t for t in machine.tiers if t.role in ROLES.values()}
    for place in places:
        if ROLES[place.tier] not in tiers:
            raise BadInput(
                f"{machine.id} states no {place.tier} memory", expected=f"a tier of role {ROLES[place.tier]}"
            )
    sharing = minimum(world(program.parallel) * 1.0, machine.box * 1.0)
    return Way(link, tiers, sharing, transfers_of(resolved.stack.attrs), machine, resolved.scenario.point)


def ledger_away(
    ledger: Ledger, resolved: Resolved, made: Plan, step: Step, dims: Mapping[str, Value], symbols: Mapping[str, Value]
) -> Ledger:
    """A step's ledger with what is kept outside."""
    way = way_of(resolved, resolved.machine)
    if way is None:
        return ledger
    env, groups = bindings(step, dims, symbols), _groups(step)
    places = resolved.scenario.program.workload.places
    return with_places(ledger, made.graph, made.program, places, way.ways, way.room(), env, groups)


def step_away(
    result: StepResult,
    resolved: Resolved,
    made: Plan,
    dims: Mapping[str, Value],
    symbols: Mapping[str, Value],
    machine: Machine,
) -> StepResult:
    """A step whose classes are partly outside; the result itself where none is."""
    way = way_of(resolved, machine)
    if way is None:
        return result
    places, step = resolved.scenario.program.workload.places, result.step
    apart = any(place.cls == "experts" for place in places)
    numbers = made.program.run(bindings(step, dims, symbols), _groups(step))
    where_of = {
        id(k): s
        for b, own in zip(made.program.blocks, made.program.slots, strict=True)
        for k, s in zip(b.kernels, own, strict=True)
    }
    inside = [place for place in places if place.way != "moved"]
    blocks, laid, brought = [], [], []
    for (name, phase, kernels), passage in zip(result.blocks, result.timeline.passages, strict=True):
        values = [numbers.of(where_of[id(p.kernel)]) for p in kernels]
        mine = []
        for priced, own in zip(kernels, values, strict=True):
            for place in inside:
                priced = dataclasses.replace(priced, cost=_inside(priced, own, place, apart, way))
            mine.append(priced)
        blocks.append((name, phase, tuple(mine)))
        laid.append((passage.count, [(p.cost.time * p.starts, p.issue_s) for p in mine]))
        brought.append(_brought(kernels, values, places, apart, way))
    line = serial(laid, resolved.stack.host.step_s, inline=resolved.stack.host.inline)
    return _together(result, blocks, line, brought, way)


def _groups(step: Step) -> list[dict[str, Value]]:
    return [{k: float(v) if isinstance(v, int) else v for k, v in g.env().items()} for g in step.groups]


def _brought(
    kernels: tuple[PricedKernel, ...], values: list[KernelValues], places: tuple[Place, ...], apart: bool, way: Way
) -> tuple[dict[str, Value], Value]:
    """(busy seconds of the path, seconds) of what one layer moves."""
    busy: dict[str, Value] = {}
    seconds: Value = 0.0
    for place in places:
        if place.way != "moved":
            continue
        into: Value = 0.0
        out: Value = 0.0
        for priced, own in zip(kernels, values, strict=True):
            read, written = moved_of(priced.kernel, own, place.cls, apart)
            into = into + read * place.used * place.packed * priced.starts
            out = out + written * place.used * place.packed * priced.starts
        path = way.over(place, into, out)
        seconds = seconds + way.seconds(path, into + out, place.slices)
        for resource, spent in path.items():
            busy[resource] = busy.get(resource, 0.0) + spent
    return busy, seconds


def _inside(priced: PricedKernel, values: KernelValues, place: Place, apart: bool, way: Way) -> Cost:
    """A kernel's cost where its part outside is read over the link, or computed there."""
    cost = priced.cost
    read, written = moved_of(priced.kernel, values, place.cls, apart)
    if not np.any(read + written):
        return cost
    used = where(np.asarray(read + written) > 0, place.used, 0.0)
    if place.way == "direct":
        read, written = read * place.packed, written * place.packed
        path = way.over(place, read * used, written * used)
        spent = way.seconds(path, (read + written) * used, 1.0)
        return _cost(cost, way, {**cost.busy, **path}, {**cost.least, **path}, maximum(cost.time, spent))
    flops: Value = 0.0
    for amount in values.flops:
        flops = flops + amount
    there = way.computing(place, (read + written) * used * place.packed, flops * used)
    held = cost.latency + (cost.time - cost.latency) * (1.0 - used)
    busy, least = ({r: v * (1.0 - used) for r, v in each.items()} for each in (cost.busy, cost.least))
    crossing = {} if place.way == "layers" or place.tier == "memory" else _crossing(priced.kernel, values, used, way)
    beside = largest(there) + sum(crossing.values(), 0.0)
    beside = beside + (2 * way.link.latency_s * where(np.asarray(used) > 0, 1.0, 0.0) if crossing else 0.0)
    time = held + beside if place.way == "layers" else maximum(held, beside)
    extra = {**there, **crossing}
    return _cost(cost, way, {**busy, **extra}, {**least, **extra}, time)


def _crossing(kernel: Kernel, values: KernelValues, used: Value, way: Way) -> dict[str, Value]:
    """Inputs go to where the other part is computed, its part of the results comes back."""
    amount: Value = 0.0
    for access, size in zip(kernel.accesses, values.bytes, strict=True):
        if access.cls in ("activation", "input"):
            amount = amount + size * (used if access.write else where(np.asarray(used) > 0, 1.0, 0.0))
    return {f"link:{way.link.name}": amount / (way.link.bandwidth * way.point.fabric_clock)}


def _cost(cost: Cost, way: Way, busy: dict[str, Value], least: dict[str, Value], time: Value) -> Cost:
    return dataclasses.replace(
        cost, busy=busy, least=least, time=time, limit=minimum(largest(least), time),
        bound=bound_of(way.machine, busy, least, cost.latency),
    )  # fmt: skip


def _together(
    result: StepResult, blocks: list[tuple[str, str, tuple[PricedKernel, ...]]], line: Timeline,
    brought: list[tuple[dict[str, Value], Value]], way: Way,
) -> StepResult:  # fmt: skip
    """The layers with their transfers beside or before them; whichever of the two a layer waits for is what shows."""
    parts = [
        (p.count, seconds, p.device + p.gap / maximum(p.count, 1e-30))
        for p, (_, seconds) in zip(line.passages, brought, strict=True)
    ]
    if way.ways.ahead:
        times = prefetched(parts, around=result.step.name == "decode")
    else:
        times = tuple(count * (seconds + compute) for count, seconds, compute in parts)
    least: dict[str, Value] = {}
    rows, passages, costs, fetched = [], [], [], []
    for (name, phase, kernels), passage, (count, seconds, compute), (path, _), time in zip(
        blocks, line.passages, parts, brought, times, strict=True
    ):
        alone = count * compute
        hidden = way.ways.ahead & (np.asarray(seconds) > compute) & (np.asarray(time) > alone * (1 + 1e-12))
        seen = where(hidden, 0.0, 1.0)
        shown = time + count * way.ways.wait_s * where(np.asarray(seconds) > 0, 1.0, 0.0) - seen * alone
        for priced in kernels:
            for resource, spent in priced.cost.least.items():
                least[resource] = least.get(resource, 0.0) + spent * priced.count
            costs.append((priced.cost, priced.count * seen))
        rows.append((name, phase, tuple(dataclasses.replace(p, exposed=p.cost.time * p.count * seen) for p in kernels)))
        passages.append(Passage(count, passage.device * seen, passage.gap * seen))
        for resource, spent in path.items():
            least[resource] = least.get(resource, 0.0) + spent * count
        fetched.append(_fetch(name, path, count, plain(maximum(shown, 0.0)), way))
    rows.append(("offload", "forward", tuple(fetched)))
    whole: Value = 0.0
    for priced in fetched:
        whole = whole + priced.cost.time
        costs.append((priced.cost, 1.0))
    passages.append(Passage(1.0, whole, 0.0))
    total: Value = 0.0
    for passage in passages:
        total = total + passage.count * passage.device + passage.gap
    total = plain(total)
    return dataclasses.replace(
        result, time=total, limit=largest(least), least=least, blocks=tuple(rows), costs=tuple(costs),
        timeline=Timeline(total, tuple(passages)),
    )  # fmt: skip


def _fetch(block: str, path: Mapping[str, Value], count: Value, shown: Value, way: Way) -> PricedKernel:
    """What a block's transfers show, as one row."""
    name = f"{block}.fetch"
    kernel = Kernel(
        name=name, path=block, kind="copy", fn="offload", family="stream", members=(name,), work=(), accesses=(), dims={},
        count=const(1), workspace=const(0),
    )  # fmt: skip
    busy = {resource: spent * count for resource, spent in path.items()}
    cost = Cost(
        busy=busy, least=busy, latency=0.0, time=shown, limit=minimum(largest(busy), shown),
        bound=bound_of(way.machine, busy, busy, 0.0), flops=0.0, dense=0.0, bytes=0.0, high=SLOWER,
        error_key=("offload", way.machine.device_id, ""),
    )  # fmt: skip
    return PricedKernel(kernel, cost, 1.0)
