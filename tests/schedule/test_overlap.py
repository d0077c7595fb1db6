"""Layers whose bytes arrive ahead of them, walked one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.schedule.overlap import prefetched


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=5),
    st.booleans(),
)
def test_prefetched_layers_are_a_walk_over_them(parts: list[tuple[int, float, float]], around: bool) -> None:
    """Layer by layer: the next one's bytes come while this one computes."""
    layers = [(k, c) for count, k, c in parts for _ in range(count)]
    total = 0.0 if around or not layers else layers[0][0]
    for i, (_, compute) in enumerate(layers):
        following = layers[(i + 1) % len(layers)][0] if around or i + 1 < len(layers) else 0.0
        total += max(compute, following)
    assert sum(prefetched([(float(n), k, c) for n, k, c in parts], around=around)) == pytest.approx(total)
