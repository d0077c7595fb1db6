"""Messages of a model as the collectives' fits see them.

An all-reduce runs as the engine runs it (custom_allreduce: its own kernels for small messages, its library for large
ones, switched by size) where that was measured; every other collective, and engines without kernels of their own, take
the vendor's library: NCCL, or oneCCL on Intel. Left to the analytic cost: other vendors, transfers between two ranks.

Engines capture decode steps in graphs, and where they do not, the timeline charges the host: the measurements from captured
graphs are the kernels'. What crosses the domains of a machine passes, after the innermost, its network ports.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.samples import View
from ..calibration.seen import SEERS, Seen, framework_of
from ..collective import domain_for
from ..cost import Conditions, Cost
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
    library, measured = LIBRARIES.get(machine.vendor, ("", ()))
    if name not in measured:
        return None
    engine = framework_of(kernel.library, ENGINES)
    own = name == "all_reduce" and machine.vendor == "nvidia" and engine in custom_allreduce.SWITCHES
    family, key = (
        (ENGINES, {"framework": engine, "op": "graph"}) if own else (library, {"framework": library, "op": name})
    )

    def look(at: KernelValues) -> View:
        assert at.message is not None
        size, ranks = maximum(at.message[0], 1.0), maximum(at.message[1], 1.0)
        if own:
            return custom_allreduce.view(size, ranks, False, engine, machine)
        return collectives.view(name, size, fabric(machine, ranks), machine)

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        return again(at).coords

    first, again = once(look, values)
    terms = {**first.terms, "wire": first.terms["wire"] / point.fabric_clock}
    if not conditions.device_latency:
        terms["launch"] = 0.0
    return Seen(family, terms, coords, key, {"wire": _link(machine, values.message[1])})


def _link(machine: Machine, ranks: Value) -> str:
    """The link the payload passes: of the outermost domain in use."""
    domains, masks = domain_for(machine, ranks)
    used = [domain for domain, mask in zip(domains, masks, strict=True) if np.any(mask)]
    return f"link:{used[-1].name}"
