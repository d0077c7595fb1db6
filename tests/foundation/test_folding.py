"""Finding equal points: whether it is worth it is told from a few sorts, and what is told apart is told right."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight._foundation.folding import SURE, fold

ROWS = 4 * SURE


@pytest.mark.parametrize("values", [(1, 8, 100), tuple(range(1, 33)), (0.25, 1e12, -3.0)])
def test_equal_points_get_one_number(values: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.choice(np.array(values, dtype=float), ROWS) for _ in range(2)]
    folded = fold(arrays)
    assert folded is not None
    points, sorts = folded
    assert points.size == len(values) ** 2
    for array in arrays:
        assert np.array_equal(array[points][sorts], array)


def test_points_of_their_own_are_left_alone() -> None:
    rng = np.random.default_rng(1)
    m = np.arange(1.0, ROWS + 1)
    assert fold([m, np.full(ROWS, 4096.0)]) is None
    assert fold([rng.integers(1, 9000, ROWS).astype(float), rng.integers(1, 9000, ROWS).astype(float)]) is None
    # A third of the points have an equal: not enough; each twice or more: enough.
    assert fold([np.where(m % 3 == 0, 1.0, m)]) is None
    assert fold([np.floor(m / 4)]) is not None
