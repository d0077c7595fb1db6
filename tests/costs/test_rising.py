"""Curves made to rise, and ripple that is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.costs.calibration.blocks import Axis, Block
from speedlight.costs.calibration.model import RIPPLE, Fitted, settled
from speedlight.costs.calibration.samples import Family, Rising, View
from speedlight.costs.refit.rising import rising, steady
from speedlight.costs.refit.solve import Data


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_what_rises_stays() -> None:
    values = column(0, 1, 1, 3)
    np.testing.assert_array_equal(rising(values, np.ones_like(values)), values)


def test_one_slow_size_gives_way_to_the_many() -> None:
    """The first call of an eager benchmark takes three times the next."""
    found = rising(column(3, 1, 1, 1, 1, 1, 2), np.ones((7, 1)))
    np.testing.assert_allclose(found[:, 0], [1, 1, 1, 1, 1, 1, 2], atol=0.03)


def test_nodes_without_rows_follow_those_with() -> None:
    weights = column(1, 1e-6, 1e-6, 1)
    np.testing.assert_allclose(rising(column(1, 5, -5, 2), weights)[[0, 3], 0], [1, 2], atol=0.01)


def test_columns_are_independent_and_rise() -> None:
    values = np.random.default_rng(0).normal(size=(31, 40))
    found = rising(values, np.ones_like(values))
    assert np.all(np.diff(found, axis=0) >= -1e-12)
    np.testing.assert_allclose(found[:, :1], rising(values[:, :1], np.ones((31, 1))), atol=1e-12)


def test_shared_tables_take_away_no_more_than_a_term_gains() -> None:
    axis = Axis("fill", 0, 4)
    block = Block("matmul", (axis,))
    view = View({}, {}, 0.0)
    family = Family(
        "x",
        ("matmul",),
        (),
        (block,),
        (),
        (),
        rising=Rising("m", lambda *_: view, {("matmul", "fill"): lambda x: 0.5 * x}),
    )
    fill = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    data = Data({}, {"fill": fill}, {"device": np.zeros(5, dtype=int)}, {"device": ("x",)}, np.ones(5), np.ones(5))
    (found,) = steady(family, (Fitted(block, {(): np.array([0.0, -0.3, -2.0, -1.0, -1.2])}),), data)
    assert np.all(np.diff(found.tables[()] + 0.5 * fill) >= -1e-12)
    assert found.tables[()][1] == pytest.approx(-0.3, abs=0.5)


def test_ripple_is_bounded() -> None:
    sums = settled({"total": np.array([1.0, 1.0, 1.0]), "ripple": np.array([-9.0, 0.05, 9.0]), "matmul": 0.5})
    np.testing.assert_allclose(sums["total"], [1 - RIPPLE, 1.05, 1 + RIPPLE])
    assert settled({"ripple": 0.7}) == {"total": RIPPLE}
    assert np.exp(2 * RIPPLE) < 1.35
