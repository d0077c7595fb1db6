"""What the seers of this package share: terms at the operating point, names of formats, operands that come cold.

Tables loop on warm operands; a model's weights, caches and states come from main memory. Seers say so through the
coordinate that compares operands with the last cache: raised to :data:`.warm.COLD` times it, it names the part of the table
where nothing fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..._foundation.arrays import Value, log2, maximum, where
from ..._foundation.formats import number_format
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import KernelValues
from ..calibration.samples import View
from ..cost import Conditions
from .warm import COLD

# Formats of two bytes have one rate and one number of bytes; tables measured bf16.
TABLE_FORMATS = {"bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8"}


def table_format(name: object) -> str | None:
    """The tables' name of a stored format, or None where they have none."""
    return TABLE_FORMATS.get(number_format(str(name)).name) if name else None


def launch_seconds(machine: Machine) -> Value:
    """The launch floor of a device; a microsecond where its file states none."""
    floor = machine.engine.launch_latency_s
    return where(floor > 0, floor, 1e-6)


def memory_latency(machine: Machine) -> Value:
    """Seconds from a load to its data; half a microsecond where the device's file states none."""
    return where(machine.main.latency_s > 0, machine.main.latency_s, 5e-7)


def at_point(
    terms: Mapping[str, Value], point: OperatingPoint, conditions: Conditions, memory: tuple[str, ...] = ("memory",),
    fixed: tuple[str, ...] = ("launch",),
) -> dict[str, Value]:  # fmt: skip
    """Terms at spec-sheet clocks → at the operating point's.

    Args:
        memory: terms that main memory paces; the rest runs at the core clock, as far as the power limit lets it.
        fixed: floors no clock moves; the launch is none where the stack launches nothing.
    """
    core = point.core_clock * conditions.throttle
    found: dict[str, Value] = {}
    for name, seconds in terms.items():
        rate = point.memory_clock if name in memory else 1.0 if name in fixed else core
        found[name] = seconds / rate
    if not conditions.device_latency:
        found["launch"] = 0.0
    return found


def resident(machine: Machine, conditions: Conditions) -> Value:
    """Whether all weights of the model fit the last cache, so that none comes cold."""
    cache = machine.last_cache
    return conditions.weights_bytes <= (cache.capacity_bytes if cache is not None else 0.0)


def cold(coords: Mapping[str, Value], name: str = "cache") -> dict[str, Value]:
    """Coordinates of operands that no cache kept."""
    return {**coords, name: maximum(coords[name], log2(COLD))}


def least_footprint(machine: Machine, conditions: Conditions) -> Value:
    """Times the last cache that operands count as at least (:func:`.warm.fetched`), with a model's weights among them."""
    return where(resident(machine, conditions), 0.0, COLD)


def unless_resident(coords: Mapping[str, Value], machine: Machine, conditions: Conditions) -> dict[str, Value]:
    """:func:`cold`, but where the model's weights stay in the last cache."""
    return {**coords, "cache": where(resident(machine, conditions), coords["cache"], cold(coords)["cache"])}


def once(look: Callable[[KernelValues], View], values: KernelValues) -> tuple[View, Callable[[KernelValues], View]]:
    """The view of a kernel, and a look that does not repeat it: coordinates are mostly asked of the very same values."""
    first = look(values)
    return first, lambda at: first if at is values else look(at)
