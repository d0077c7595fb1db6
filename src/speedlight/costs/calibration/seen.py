"""How a cost family sees a lowered kernel: the same view its fit had of a table's row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..._foundation.arrays import Value
from ..._foundation.provenance import Assumption
from ..._foundation.registry import Registry
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..cost import Conditions, Cost


@dataclass(frozen=True, slots=True)
class Seen:
    """A lowered kernel as a family's fit sees it.

    Attributes:
        family: name of the fit.
        terms: seconds by term at the machine's rates.
        coords: (values, conditions) → coordinates. Coordinates hold no rate, so that points of a sweep that differ in
            rates alone share them.
        key: key fields beside device and architecture (``format`` …); ``framework`` where it is not the stack's library.
        resources: term → resource whose busy time it is (of several terms the longest); a term without one is latency.
        gap: seconds the device needs from this kernel to the next, where the fit's own floor is that of a benchmark.
        applies: where the fit speaks of all that runs; elsewhere it speaks of a part (the ranks of one box, of a group that
            leaves it), and the analytic cost stands unless that part alone takes longer.
        notes: what an answer is to list: how the stack runs it, where its user can change that.
    """

    family: str
    terms: Mapping[str, Value]
    coords: Callable[[KernelValues, Conditions], Mapping[str, Value]]
    key: Mapping[str, str]
    resources: Mapping[str, str]
    gap: Value = 0.0
    applies: Value = True
    notes: tuple[Assumption, ...] = ()


def framework_of(library: Mapping[str, str], family: str, number_format: str = "") -> str:
    """The framework whose measured kernels a stack's ``library`` names: ``family/format``, else family, format, any."""
    for name in (f"{family}/{number_format}", family, number_format):
        if name in library:
            return library[name]
    return library.get("", "")


Seer = Callable[[Kernel, KernelValues, Machine, OperatingPoint, Conditions, Cost], "Seen | None"]
SEERS: Registry[Seer] = Registry("cost family", "speedlight.cost_families")
