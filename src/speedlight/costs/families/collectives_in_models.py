"""Messages of a model as the collectives' fits see them.

An all-reduce runs as the engine runs it (custom_allreduce: its own kernels for small messages, its library for large
ones, switched by size) where that was measured; every other collective, and engines without kernels of their own, take
the vendor's library: NCCL, or oneCCL on Intel. Left to the analytic cost: other vendors, transfers between two ranks.

Engines capture decode steps in graphs, and where they do not, the timeline charges the host: the measurements from captured
graphs are the kernels'. Of groups that leave a box
(:mod:`..network`) the fits know what its ranks do among themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.samples import View
from ..calibration.seen import SEERS, Seen, framework_of
from ..collective import domain_for
from ..cost import Conditions, Cost
from ..network.footprint import ranks_within
from ..network.libraries import ONCE
from . import collectives, custom_allreduce
from .fabric import fabric
from .in_models import once

# Vendor → its library's fit, with the collectives that were measured.
LIBRARIES = {
    "nvidia": ("nccl", ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")),
    "intel": ("oneccl", ("all_reduce", "all_gather", "reduce_scatter")),
}
ENGINES = "custom_allreduce"


@SEERS.register("collective")
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The view of one collective, or None where no table measured its like."""
    if kernel.message is None or values.message is None or not machine.domains:
        return None
    name = kernel.message.collective
    here = _in_a_box(machine, values)
    if not np.any(here > 1.0):
        return None
    library, measured = LIBRARIES.get(machine.vendor, ("", ()))
    if name not in measured or (name == "all_to_all" and kernel.library.get("dispatch") == ONCE):
        return None
    engine = framework_of(kernel.library, ENGINES)
    own = name == "all_reduce" and machine.vendor == "nvidia" and engine in custom_allreduce.SWITCHES
    family, key = (
        (ENGINES, {"framework": engine, "op": "graph"}) if own else (library, {"framework": library, "op": name})
    )

    def look(at: KernelValues) -> View:
        assert at.message is not None
        size, ranks = maximum(at.message[0], 1.0), maximum(_in_a_box(machine, at), 1.0)
        group = fabric(machine, ranks, stride=_stride(at))
        if own:
            return custom_allreduce.view_of(size, group, False, engine, machine)
        return collectives.view(name, size, group, machine)

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        return again(at).coords

    first, again = once(look, values)
    terms = {**first.terms, "wire": first.terms["wire"] / point.fabric_clock}
    if not conditions.device_latency:
        terms["launch"] = 0.0
    return Seen(
        family, terms, coords, key, {"wire": _link(machine, values.message[1] * _stride(values))}, applies=here >= values.message[1]
    )  # fmt: skip


def _stride(values: KernelValues) -> Value:
    """Devices between neighbours of the group: of its innermost axis."""
    assert values.message is not None
    spans = values.message[2]
    return spans[0][1] if spans else 1.0


def _in_a_box(machine: Machine, values: KernelValues) -> Value:
    """Ranks of the group in one box: no table measured a group that leaves it."""
    assert values.message is not None
    _, ranks, spans = values.message
    return ranks_within(machine.box, spans or ((ranks, 1.0),))


def _link(machine: Machine, reach: Value) -> str:
    """The link the payload passes: of the outermost domain in use."""
    domains, masks = domain_for(machine, minimum(reach, machine.box))
    used = [domain for domain, mask in zip(domains, masks, strict=True) if np.any(mask)]
    return f"link:{used[-1].name}"
