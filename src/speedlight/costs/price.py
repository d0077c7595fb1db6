"""A kernel on a machine → its :class:`Cost`: busy seconds of every resource, analytic and least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value, ceil, maximum, where
from .._foundation.errors import BadInput
from .._foundation.folding import Folded, at_points
from ..hardware.machine import Engine, Machine, OperatingPoint
from ..lowering.kernels import BLOCKS, IN_FLIGHT, WALKS, Kernel, KernelValues
from . import matrix, residency
from .cost import UNCALIBRATED_HIGH, Conditions, Cost, bound_of, largest
from .network.choose import choose
from .network.choose import least as least_seconds
from .network.levels import levels
from .network.libraries import ONCE, dispatching, library_of
from .residency import Split

# Vector FLOPs that compute one transcendental where no unit serves it, or faster than that unit: a polynomial of degree
# 3–6 with range reduction (FlashAttention-4 emulates exp2 on the FMA units with about this many).
SOFTWARE_TRANSCENDENTAL = 8.0

PACKED = ("fp16", "bf16")  # formats that vector units multiply in pairs where a machine says so


@dataclass(frozen=True, slots=True)
class PeakUsed:
    """The rate an answer names: unit, format, accumulator, FLOP/s at the operating point, grade, formats widened."""

    unit: str
    format: str
    accumulate: str
    flops: Value
    grade: str
    widened: tuple[str, ...] = ()


def peak_for(
    machine: Machine, unit: str, number_format: str, accumulate: str | None, point: OperatingPoint
) -> PeakUsed:
    peak, widened = machine.engine.peak(unit, number_format, accumulate)
    return PeakUsed(peak.unit, peak.format, peak.accumulate, peak.flops * point.core_clock, peak.grade, widened)


def price(
    kernel: Kernel,
    values: KernelValues,
    machine: Machine,
    point: OperatingPoint = OperatingPoint(),
    conditions: Conditions = Conditions(),
    folded: Folded | None = None,
) -> Cost:
    """Cost of one instance.

    Args:
        kernel, values: what runs, and its numbers (floats or arrays).
        machine: where.
        point: clocks relative to the spec sheet.
        conditions: residency and whether the launch floor applies.
        folded: points whose sizes are equal although rates differ; what depends on sizes alone is worked out once.
    """
    busy: dict[str, Value] = {}
    least: dict[str, Value] = {}
    flops: Value = 0.0
    dense: Value = 0.0
    way = ""
    if kernel.message is not None and values.message is not None:
        latency, way = _message(kernel, values, machine, point, busy, least)
        main: Value = 0.0
    else:
        ratio, split = _sized(kernel, values, machine, conditions, folded)
        flops, dense = _compute(kernel, values, machine, point, busy, least, ratio)
        busy = {resource: seconds / conditions.throttle for resource, seconds in busy.items()}
        main = _memory(split, machine, point, busy, least)
        crossing = _host(split, machine, point, busy, least)
        latency = _start(kernel, values, machine, conditions) + crossing
        if conditions.device_latency and machine.main.latency_s:
            latency = latency + maximum(values.span - 1.0, 0.0) * _step_latency(kernel, values, machine)
    for resource, share in kernel.rates:
        if resource in busy:
            busy[resource] = busy[resource] / share
    if BLOCKS in kernel.dims:
        _in_waves(values.dims[BLOCKS], values.dims.get(IN_FLIGHT), machine, busy)
    elif WALKS in kernel.dims and machine.main.latency_s:
        _walked(values.dims[WALKS] * values.dims[IN_FLIGHT], machine, busy)
    work = serial_time(kernel, busy)
    if kernel.efficiency is not None:
        work = work / kernel.efficiency
    time = work + latency
    limit = largest(least)
    low, high = _spread(kernel, machine)
    return Cost(
        busy=busy, least=least, latency=latency, time=time, limit=limit,
        bound=bound_of(machine, busy, least, latency), flops=flops, dense=dense, bytes=main, low=low, high=high, way=way,
        error_key=(kernel.family, machine.device_id, ""),
    )  # fmt: skip


ON_UNITS = ("matmul", "vector", "unit:transcendental")


def _in_waves(blocks: Value, in_flight: Value | None, machine: Machine, busy: dict[str, Value]) -> None:
    """Books what whole waves of equal blocks cost: units compute a block each, and those without one stand idle.

    Memory needs fewer of them: a unit draws at most its share of the last cache's bandwidth, and a block what it has in flight
    in each of the memory's latencies (Little's law), so main memory is slowed down only where those at work cannot ask for all
    of it.
    """
    units = float(machine.engine.units)
    idle = ceil(maximum(blocks, 1.0) / units) * units / maximum(blocks, 1.0)
    for resource in ON_UNITS:
        if resource in busy:
            busy[resource] = busy[resource] * idle
    main, cache = machine.main, machine.last_cache
    drawn = 0.0 if cache is None else main.bandwidth / cache.bandwidth  # share of all units that draws all of it
    if in_flight is not None and main.latency_s:
        drawn = maximum(drawn, main.bandwidth * main.latency_s / in_flight / units)
    busy[main.resource] = busy[main.resource] * maximum(1.0, idle * drawn)


def _walked(in_flight: Value, machine: Machine, busy: dict[str, Value]) -> None:
    """Books what main memory takes longer where all blocks together ask for less at once than its latency needs (Little's law)."""
    main = machine.main
    busy[main.resource] = busy[main.resource] * maximum(1.0, main.bandwidth * main.latency_s / maximum(in_flight, 1.0))


# How often an op's data goes all the way through a spatial machine: attention's scores, their softmax, its values.
FILLS = {"attention": 3.0, "elementwise": 0.0, "copy": 0.0, "quantize": 0.0}


def _start(kernel: Kernel, values: KernelValues, machine: Machine, conditions: Conditions) -> Value:
    """Seconds before a kernel's first result: the launch floor, or on a spatial machine what fills its pipeline.

    There nothing is launched (a region is, :mod:`..schedule.regions`), and what combines no numbers needs none from afar.
    """
    if machine.execution == "spatial":
        return machine.engine.fill_s * FILLS.get(kernel.kind, 1.0)
    return machine.engine.launch_latency_s * maximum(values.launches, 0.0) if conditions.device_latency else 0.0


def least_of(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint = OperatingPoint(),
    conditions: Conditions = Conditions(),
) -> dict[str, Value]:  # fmt: skip
    """The least seconds of every resource that :func:`price` finds, for who needs no other: tiles are not looked at."""
    busy: dict[str, Value] = {}
    least: dict[str, Value] = {}
    if kernel.message is not None and values.message is not None:
        _message(kernel, values, machine, point, busy, least)
    else:
        _compute(kernel, values, machine, point, busy, least, 1.0)
        split = residency.split(kernel, values, machine, conditions)
        _memory(split, machine, point, busy, least)
        _host(split, machine, point, busy, least)
    return least


def _sized(
    kernel: Kernel, values: KernelValues, machine: Machine, conditions: Conditions, folded: Folded | None
) -> tuple[Value, Split]:
    """What depends on sizes alone: tiles' waste, and bytes by where they move; of equal points once."""
    if folded is not None:
        points, sorts = folded
        few = _sized(
            kernel, at_points(values, points, sorts.size), machine, at_points(conditions, points, sorts.size), None
        )
        spread: tuple[Value, Split] = at_points(few, sorts, points.size)
        return spread
    return _waste(kernel, values.dims, machine.engine), residency.split(kernel, values, machine, conditions)


def _compute(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, busy: dict[str, Value],
    least: dict[str, Value], ratio: Value,
) -> tuple[Value, Value]:  # fmt: skip
    engine = machine.engine
    flops: Value = 0.0
    dense: Value = 0.0
    vector = peak_for(machine, "vector", "fp32", None, point).flops
    for work, amount, unmasked in zip(kernel.work, values.flops, values.dense, strict=True):
        if work.unit == "matmul" and single_channel(kernel):
            peak = peak_for(machine, "matmul", work.format, work.accumulate, point)
            number = work.format if work.format in PACKED else "fp32"
            packed = peak_for(machine, "vector", number, None, point).flops
            _add(busy, "vector", amount / packed)
            _add(least, "matmul", amount / maximum(peak.flops, packed))
            flops, dense = flops + amount, dense + unmasked
        elif work.unit == "matmul":
            peak = peak_for(machine, "matmul", work.format, work.accumulate, point)
            thin = vector if peak.unit == "matmul" else None
            _add(busy, "matmul", matrix.seconds(engine, amount, peak.flops, thin, ratio))
            _add(least, "matmul", amount / maximum(peak.flops, vector))
            flops, dense = flops + amount, dense + unmasked
        elif work.unit == "transcendental":
            peak = peak_for(machine, "transcendental", "fp32", None, point)
            if peak.unit == "transcendental":
                _add(busy, "unit:transcendental", amount / peak.flops)
                _add(least, "unit:transcendental", amount / (peak.flops + vector / SOFTWARE_TRANSCENDENTAL))
            else:
                _add(busy, "vector", amount * SOFTWARE_TRANSCENDENTAL / peak.flops)
                _add(least, "vector", amount / peak.flops)
        else:  # a unit of its own where the machine has one, else vector work
            served = work.unit != "vector" and any(p.unit == work.unit for p in machine.engine.peaks)
            unit, resource = (work.unit, f"unit:{work.unit}") if served else ("vector", "vector")
            rate = peak_for(machine, unit, work.format, None, point).flops
            _add(busy, resource, amount / rate)
            _add(least, resource, amount / rate)
    return flops, dense


def single_channel(kernel: Kernel) -> bool:
    """Is it a depthwise convolution? Each filter sees one channel, so a matrix unit has nothing to share among columns.

    Libraries run such kernels on vector units (ATen's DepthwiseConv2d.cu, cuDNN's direct grouped kernels), taken to multiply in
    the operands' format: on GeForce, where they were measured, that is no faster than fp32.
    """
    if kernel.family != "conv":
        return False
    groups, channels = kernel.dims.get("groups"), kernel.dims.get("in_channels")
    return groups is not None and channels is not None and groups.constant == channels.constant != 1


def _waste(kernel: Kernel, d: Mapping[str, Value], engine: Engine) -> Value:
    if kernel.even:
        return 1.0
    if kernel.family in ("matmul", "conv") and {"m", "n", "k"} <= set(d) and not single_channel(kernel):
        # A convolution is one product for each group; its images are rows of m already (implicit GEMM).
        products = d.get("groups", 1.0) if kernel.family == "conv" else d.get("batch", 1.0)
        return matrix.waste(engine, d["m"], d["n"], d["k"], products)
    return 1.0


def _memory(
    split: Split, machine: Machine, point: OperatingPoint, busy: dict[str, Value], least: dict[str, Value]
) -> Value:  # fmt: skip
    tier = machine.main
    bandwidth = tier.bandwidth * point.memory_clock
    if tier.outstanding_bytes is not None:
        bandwidth = -maximum(-bandwidth, -tier.outstanding_bytes / tier.latency_s)
    _add(busy, tier.resource, split.moved / bandwidth)
    _add(least, tier.resource, split.required / (tier.bandwidth * point.memory_clock))
    cache = machine.last_cache
    if cache is not None:
        rate = cache.bandwidth * point.core_clock
        _add(busy, "cache", split.sectors / rate)
        if machine.facts.get(f"tiers.{cache.name}.bandwidth") and not _assumed(
            machine, f"tiers.{cache.name}.bandwidth"
        ):
            _add(least, "cache", split.near / rate)  # an assumed figure cannot prove anything impossible
    return split.required


def _host(
    split: Split, machine: Machine, point: OperatingPoint, busy: dict[str, Value], least: dict[str, Value]
) -> Value:  # fmt: skip
    """Transfers to and from the host's memory occupy all of their path: its link, each way on its own, and that memory.

    Returns:
        seconds until the first byte is through.

    Raises:
        BadInput: for a machine that states no link to its host.
    """
    if not any(np.any(np.asarray(x)) for x in (split.into_moved, split.out_moved)):
        return 0.0
    link = next((k for k in machine.links if k.role == "host"), None)
    if link is None:
        raise BadInput(f"{machine.id} states no link to its host", expected="a link of role host in its spec file")
    rate = link.bandwidth * point.fabric_clock
    _add(busy, f"link:{link.name}", maximum(split.into_moved, split.out_moved) / rate)
    _add(least, f"link:{link.name}", maximum(split.into, split.out) / rate)
    for tier in machine.tiers:
        if tier.role == "host":
            _add(busy, tier.resource, (split.into_moved + split.out_moved) / tier.bandwidth)
            _add(least, tier.resource, (split.into + split.out) / tier.bandwidth)
    return link.latency_s


def _assumed(machine: Machine, path: str) -> bool:
    fact = machine.facts.get(path)
    return fact is None or fact.grade == "assumed"


def _message(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, busy: dict[str, Value],
    least: dict[str, Value],
) -> tuple[Value, str]:  # fmt: skip
    """Books a message's seconds on its links; its latency, and the way it takes."""
    assert kernel.message is not None
    assert values.message is not None
    payload, size, spans = values.message
    name = kernel.message.collective
    rungs = levels(machine.domains, size, spans, point.fabric_clock)
    library = library_of(machine, bool(kernel.library))
    if name == "all_to_all" and kernel.library.get("dispatch") == ONCE:
        library = dispatching(library, values.copies)
    passage = choose(name, size, payload, rungs, library)
    busy.update(passage.busy)
    least.update(least_seconds(name, size, payload, rungs, values.copies))
    return passage.latency, passage.taken


def _spread(kernel: Kernel, machine: Machine) -> tuple[float, float]:
    """Logs of the ends of an analytic cost's interval: that of the library which runs a message, where it has one."""
    if kernel.message is not None:
        known = library_of(machine, bool(kernel.library)).spread
        if known is not None:
            return known
    return 0.0, UNCALIBRATED_HIGH


def _step_latency(kernel: Kernel, values: KernelValues, machine: Machine) -> Value:
    """Time of one dependent step inside a kernel: a round trip through the last cache.

    To main memory where there is none, or where steps read at random what the cache does not hold.
    """
    cache = machine.last_cache
    if cache is None:
        return machine.main.latency_s
    step: Value = cache.latency_s
    for access, size, granule in zip(kernel.accesses, values.sizes, values.granules, strict=True):
        if granule is not None and not access.write:
            step = maximum(step, where(size > cache.capacity_bytes, machine.main.latency_s, step))
    return step


def serial_time(kernel: Kernel, busy: Mapping[str, Value]) -> Value:
    """The busiest resource; parts a variant cannot overlap add up first."""
    serial: Value = 0.0
    rest: dict[str, Value] = {}
    for resource, value in busy.items():
        if resource in kernel.serial:
            serial = serial + value
        else:
            rest[resource] = value
    return maximum(serial, largest(rest))


def _add(into: dict[str, Value], resource: str, seconds: Value) -> None:
    into[resource] = into[resource] + seconds if resource in into else seconds
