"""Closed forms of layouts against walking every micro-batch and every reduction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.schedule.layouts import behind, pipeline

SECONDS = st.floats(0.0, 10.0)


@given(st.lists(SECONDS, min_size=1, max_size=5), st.integers(1, 6))
def test_a_pipeline_is_its_walk(stages: list[float], micro_batches: int) -> None:
    free = [0.0] * len(stages)
    for _ in range(micro_batches):
        ready = 0.0
        for s, seconds in enumerate(stages):
            free[s] = max(free[s], ready) + seconds
            ready = free[s]
    assert pipeline(stages, micro_batches) == pytest.approx(free[-1])


def test_equal_stages_take_m_plus_s_minus_one() -> None:
    assert pipeline([2.0] * 4, 3) == pytest.approx((3 + 4 - 1) * 2.0)


@given(st.lists(st.tuples(st.integers(0, 4), SECONDS, SECONDS), min_size=1, max_size=4))
def test_reductions_behind_the_pass_are_their_walk(parts: list[tuple[int, float, float]]) -> None:
    computed = reduced = 0.0
    for count, compute, reduce in parts:
        for _ in range(count):
            computed += compute
            reduced = max(reduced, computed) + reduce
    assert behind(parts) == pytest.approx(max(computed, reduced))
