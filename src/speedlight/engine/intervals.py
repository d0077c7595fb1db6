"""Intervals while nothing is calibrated: wide, and said to be so.

The 10 % and 90 % quantiles of measured over analytic time of bf16 matrix products, averaged over the eight devices of the
gemm table, are 1.19 and 3.05 (studies/2026-11-gemm-limit.md): the analytic model is optimistic, so the band lies above
it; its lower end is the prediction itself, since an interval contains its prediction. It stands in until error keys and
joint draws come with calibrated costs (DESIGN decision 4).
"""

from __future__ import annotations

from .._foundation.arrays import Value

HIGH = 3.05


def uncalibrated(time: Value) -> tuple[Value, Value]:
    """(low, high): central 80 % of a first, uncalibrated prediction."""
    return time, time * HIGH
