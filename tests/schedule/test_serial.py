"""The serial timeline: the folded closed form equals the max-plus recurrence run kernel by kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.schedule.serial import serial

SECONDS = st.floats(0, 10)
KERNELS = st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=5)
BLOCKS = st.lists(st.tuples(st.integers(0, 6), KERNELS), min_size=1, max_size=4)


def by_recurrence(blocks: list[tuple[int, list[tuple[float, float]]]], start: float) -> float:
    host, end = start, 0.0
    for count, kernels in blocks:
        if not any(device + issue > 0 for device, issue in kernels):
            continue  # a block none of whose kernels run waits for nobody
        for _ in range(count):
            for device, issue in kernels:
                host += issue
                end = max(host, end) + device
    return end


@given(BLOCKS, SECONDS)
def test_folded_equals_unrolled(blocks: list[tuple[int, list[tuple[float, float]]]], start: float) -> None:
    timeline = serial(blocks, start)
    assert timeline.time == pytest.approx(by_recurrence(blocks, start), rel=1e-9, abs=1e-9)
    assert sum(p.count * p.device + p.gap for p in timeline.passages) == pytest.approx(timeline.time, rel=1e-12)


def test_arrays_equal_scalars() -> None:
    device = np.array([1.0, 3.0, 0.1])
    together = serial([(4, [(device, 0.5), (device * 2, 0.5)]), (np.array([0, 1, 2]), [(1.0, 2.0)])], 0.3)
    for i, d in enumerate(device):
        alone = serial([(4, [(d, 0.5), (d * 2, 0.5)]), ([0, 1, 2][i], [(1.0, 2.0)])], 0.3)
        assert together.time[i] == pytest.approx(alone.time)


def test_a_slow_host_leaves_gaps_and_a_fast_one_none() -> None:
    assert serial([(10, [(1e-6, 5e-6)])]).passages[0].gap == pytest.approx(41e-6)
    assert serial([(10, [(5e-6, 1e-6)])]).passages[0].gap == pytest.approx(1e-6)
    assert serial([(10, [(5e-6, 0.0)])]).passages[0].gap == 0
