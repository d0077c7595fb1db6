"""How a cost family sees a lowered kernel: the same view its fit had of a table's row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..._foundation.registry import Registry
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..cost import Conditions, Cost
from .samples import View


@dataclass(frozen=True, slots=True)
class Seen:
    """A lowered kernel as a family's fit sees it.

    Attributes:
        family: name of the fit.
        view: its terms, coordinates and limit.
        key: key fields beside device, architecture and library (``format`` …).
        resources: term → resource whose busy time it is; a term without one is latency.
    """

    family: str
    view: View
    key: Mapping[str, str]
    resources: Mapping[str, str]


Seer = Callable[[Kernel, KernelValues, Machine, OperatingPoint, Conditions, Cost], "Seen | None"]
SEERS: Registry[Seer] = Registry("cost family", "speedlight.cost_families")
