"""Expected order statistics: published values, closed forms and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.schedule.stragglers import DISTRIBUTIONS, expected_longest, expected_of


@pytest.mark.parametrize(
    ("n", "score"),
    [(1, 0.0), (2, 1 / np.sqrt(np.pi)), (3, 1.5 / np.sqrt(np.pi)), (10, 1.5387527308), (100, 2.5075936364)],
)
def test_normal_scores(n: int, score: float) -> None:
    """Harter, Biometrika 48 (1961), table 1."""
    assert expected_longest(n, 1.0, 1.0) == pytest.approx(1 + score, abs=1e-9)


def test_gumbel_and_exponential_are_exact() -> None:
    assert expected_longest(1000, 2.0, 0.1, "gumbel") == pytest.approx(2 + 0.2 * np.sqrt(6) / np.pi * np.log(1000))
    assert expected_longest(4, 1.0, 0.5, "exponential") == pytest.approx(0.5 + 0.5 * (1 + 1 / 2 + 1 / 3 + 1 / 4))
    assert expected_longest(1e5, 1.0, 1.0, "exponential") == pytest.approx(
        sum(1 / i for i in range(1, 100_001)), rel=1e-12
    )


@pytest.mark.parametrize("distribution", ["normal", "exponential"])
def test_k_of_n_against_draws(distribution: str) -> None:
    draw = np.random.default_rng(7)
    values = draw.normal(size=(40_000, 12)) if distribution == "normal" else draw.exponential(size=(40_000, 12)) - 1
    means = np.sort(values, axis=1).mean(axis=0)
    for k in (1, 6, 11, 12):
        assert expected_of(k, 12, 1.0, 1.0, distribution) == pytest.approx(1 + means[k - 1], abs=0.02)


@given(st.sampled_from(DISTRIBUTIONS), st.integers(1, 20_000), st.floats(0, 0.5))
def test_more_ranks_never_wait_less(distribution: str, n: int, spread: float) -> None:
    one, more = expected_longest(n, 1.0, spread, distribution), expected_longest(n + 1, 1.0, spread, distribution)
    assert 1 - 1e-12 <= one <= more + 1e-9
    assert expected_longest(1, 1.0, spread, distribution) == pytest.approx(1.0)


def test_arrays() -> None:
    n = np.array([[1, 8], [64, 4096]])
    for distribution in DISTRIBUTIONS:
        together = expected_longest(n, 2.0, 0.05, distribution)
        assert together.ravel().tolist() == pytest.approx(
            [expected_longest(int(x), 2.0, 0.05, distribution) for x in n.ravel()]
        )


@pytest.mark.parametrize("arguments", [(0, 1, 0.1), (4, 1, -0.1), (4, 1, 0.1, "cauchy")])
def test_bad_input(arguments: tuple[float, ...]) -> None:
    with pytest.raises(BadInput):
        expected_longest(*arguments)  # type: ignore[arg-type]
