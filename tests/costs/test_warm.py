"""What a benchmark's loop finds in the last cache: laws over sizes, and the ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.costs.families.warm import COLD, SUSTAINED, cold_share, fetched
from speedlight.hardware.catalogue import load_machine

MACHINES = ("rtx-4090", "h100-sxm-80gb", "mi300x", "arc-pro-b60", "epyc-7763")
sizes = st.floats(1.0, 1e12)


def test_large_loops_stream_from_memory_and_small_ones_from_the_cache():
    machine = load_machine("rtx-4090")
    cache, main = machine.last_cache, machine.main
    assert cache is not None
    assert fetched(1e12, machine) == pytest.approx(1e12 / main.bandwidth, rel=1e-6)
    assert fetched(1e6, machine) == pytest.approx(1e6 / (SUSTAINED * cache.bandwidth), rel=1e-3)
    assert fetched(1e6, machine, 1e9) == pytest.approx(1e6 / main.bandwidth, rel=1e-3)  # one of many taken in turn
    assert fetched(1e6, machine, least=COLD) == pytest.approx(1e6 / main.bandwidth, rel=1e-3)
    assert fetched(1e9, machine, least=COLD, memory_clock=0.5) == pytest.approx(2e9 / main.bandwidth, rel=1e-3)


@given(sizes, sizes, st.sampled_from(MACHINES))
def test_more_bytes_never_come_sooner(size, more, device):
    machine = load_machine(device)
    one, both = (fetched(x, machine) for x in (size, size + more))
    assert one <= both * (1 + 1e-12)
    assert one <= fetched(size, machine, size + more) * (1 + 1e-12) <= size / machine.main.bandwidth * (1 + 1e-9)


@given(sizes, st.sampled_from(MACHINES), st.floats(1.0, 20.0))
def test_a_faster_memory_never_costs_time(size, device, faster):
    machine = load_machine(device)
    better = machine.scaled(f"tiers.{machine.main.name}.bandwidth", faster)
    assert fetched(size, better) <= fetched(size, machine) * (1 + 1e-12)


def test_arrays_are_loops_of_floats():
    machine = load_machine("h100-sxm-80gb")
    size = np.geomspace(1e3, 1e11, 50)
    assert fetched(size, machine, 6.0 * size) == pytest.approx(
        [fetched(float(s), machine, 6.0 * float(s)) for s in size]
    )
    assert cold_share(np.asarray([1e3, 1e12]), 1e7) == pytest.approx([0.0, 1.0])
