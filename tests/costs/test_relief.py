"""One kernel with one bound out of the way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.expr import const
from speedlight.costs.cost import Cost, largest
from speedlight.costs.relief import without
from speedlight.lowering.kernels import Kernel

KERNEL = Kernel(
    name="k", path="", kind="other", fn="k", family="stream", members=(), work=(), accesses=(), dims={}, count=const(1),
    workspace=const(0),
)  # fmt: skip
NAMES = ("matmul", "vector", "cache", "hbm", "link:nvlink")
seconds = st.floats(0, 1e3)


def cost(busy: dict[str, float], least: dict[str, float], latency: float, factor: float = 1.0) -> Cost:
    time = (largest(busy) + latency) * factor
    return Cost(busy, least, latency, time, largest(least), 0, 0.0, 0.0, 0.0)


@given(
    st.fixed_dictionaries(dict.fromkeys(NAMES, st.tuples(seconds, st.floats(0, 1)))), seconds, st.floats(1, 3),
    st.sampled_from((*NAMES, "latency", "tile_waste", "launch", "made-up")),
)  # fmt: skip
def test_it_lies_between_the_time_and_the_limit_of_what_is_left(
    given_busy: dict[str, tuple[float, float]], latency: float, factor: float, bound: str
) -> None:
    busy = {name: value for name, (value, _) in given_busy.items()}
    least = {name: value * part for name, (value, part) in given_busy.items()}
    before = cost(busy, least, latency, factor)
    after = without(KERNEL, before, bound)
    assert after.time <= before.time
    left = {name: value for name, value in least.items() if name != bound}
    assert after.time >= largest(left)
    if bound in ("launch", "made-up"):
        assert after.time == before.time


def test_the_next_resource_takes_over() -> None:
    before = cost({"hbm": 5.0, "matmul": 3.0}, {"hbm": 4.0, "matmul": 1.0}, 0.5)
    after = without(KERNEL, before, "hbm")
    assert after.time == 3.5
    assert after.bound == "matmul"
    assert without(KERNEL, before, "latency").time == 5.0
    assert without(KERNEL, before, "matmul").time == before.time


def test_full_tiles_leave_what_the_peak_allows() -> None:
    before = cost({"hbm": 2.0, "matmul": 9.0}, {"hbm": 2.0, "matmul": 3.0}, 1.0)
    after = without(KERNEL, before, "tile_waste")
    assert after.time == 4.0
    assert after.bound == "matmul"


def test_parts_that_cannot_overlap_are_taken_off_their_sum() -> None:
    serial = dataclasses.replace(KERNEL, serial=("hbm", "matmul"))
    before = dataclasses.replace(cost({"hbm": 5.0, "matmul": 3.0, "vector": 4.0}, {}, 0.0), time=8.0)
    assert without(serial, before, "hbm").time == 4.0  # the vector unit takes over


def test_a_published_efficiency_holds_for_what_is_left() -> None:
    slow = dataclasses.replace(KERNEL, efficiency=0.5)
    before = dataclasses.replace(cost({"hbm": 5.0, "matmul": 3.0}, {}, 0.0), time=10.0)
    assert without(slow, before, "hbm").time == 6.0


def test_arrays_take_the_same_path() -> None:
    busy = {"hbm": np.array([1.0, 5.0]), "matmul": np.array([3.0, 3.0])}
    before = Cost(busy, {}, 0.5, np.array([3.5, 5.5]), 0.0, 0, 0.0, 0.0, 0.0)
    assert without(KERNEL, before, "hbm").time.tolist() == pytest.approx([3.5, 3.5])
