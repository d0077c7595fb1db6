"""Sets of moments obey the laws of sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from speedlight.measurement.traces.spans import common, either, length, union, without

intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=12)


def spans(pairs):
    return union([a for a, _ in pairs], [a + b for a, b in pairs])


def moments(pairs):
    """The same by unit moments."""
    return {t for a, b in pairs for t in range(a, a + b)}


@given(intervals, intervals)
def test_the_same_as_sets_of_moments(one, other):
    a, b = spans(one), spans(other)
    x, y = moments(one), moments(other)
    assert length(a) == len(x)
    assert length(either(a, b)) == len(x | y)
    assert length(common(a, b)) == len(x & y)
    assert length(without(a, b)) == len(x - y)


@given(intervals)
def test_spans_are_sorted_and_disjoint(pairs):
    made = spans(pairs)
    assert np.all(made[:, 1] > made[:, 0])
    assert np.all(made[1:, 0] > made[:-1, 1])
