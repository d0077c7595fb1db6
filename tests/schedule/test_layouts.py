"""The closed form of reductions against walking every one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.schedule.layouts import behind

SECONDS = st.floats(0.0, 10.0)


@given(st.lists(st.tuples(st.integers(0, 4), SECONDS, SECONDS), min_size=1, max_size=4))
def test_reductions_behind_the_pass_are_their_walk(parts: list[tuple[int, float, float]]) -> None:
    computed = reduced = 0.0
    for count, compute, reduce in parts:
        for _ in range(count):
            computed += compute
            reduced = max(reduced, computed) + reduce
    assert behind(parts) == pytest.approx(max(computed, reduced))
