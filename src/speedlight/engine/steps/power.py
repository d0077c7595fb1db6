"""A first answer to a power limit: the clock it leaves.

Dynamic power of CMOS goes as f · V², and V about as f near the top of the curve, so P ∝ f³ (Horowitz, Indermaur, Gonzalez,
"Low-power digital design", 1994, §2). Static power and memory power are ignored and the limit is taken to bind whenever
it lies below the TDP: assumed, and answers say so. The fixed point of power, clock and timeline comes with calibrated power.
"""

from __future__ import annotations

from ..._foundation.arrays import Value, maximum, minimum
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine, OperatingPoint

LEAST_CLOCK = 0.2


def clock_under_limit(machine: Machine, point: OperatingPoint) -> Value:
    """Core clock over the spec sheet's that the power limit leaves; 1 without a limit.

    Raises:
        BadInput: where the machine states no TDP to compare with, or the limit is not positive.
    """
    if point.power_w is None:
        return 1.0
    if machine.tdp_w is None:
        raise BadInput(f"{machine.id} states no TDP, so a power limit says nothing", hint="add tdp to its file")
    import numpy as np

    if np.any(np.asarray(point.power_w) <= 0):
        raise BadInput(f"the power limit is {point.power_w} W", expected="a positive number of watts")
    return maximum(minimum((point.power_w / machine.tdp_w) ** (1 / 3), 1.0), LEAST_CLOCK)
