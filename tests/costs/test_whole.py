"""Kernels fitted to times of whole models: what was put in comes out, and what no row tells stays unbent."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from speedlight.costs.calibration.blocks import Axis, Block
from speedlight.costs.calibration.samples import Family
from speedlight.costs.refit.solve import Data
from speedlight.costs.refit.whole import Kernels, Wholes, fit, seconds, without

SIZE = Axis("size", 0, 4)
KEYS = ("device", "architecture", "framework", "version")


def family(name: str) -> Family:
    blocks = (Block("work", (SIZE,), (), (1e-6,), 1e-8), Block("work", (SIZE,), ("device",), (1e-6,), 1e-3))
    return Family(name, ("work",), ("launch",), blocks, (), (), kernels=None)


FAMILIES = {("a",): family("a"), ("b",): family("b")}
TRUE = {("a",): np.array([0.0, 0.2, 0.5, 0.9, 1.0]), ("b",): np.array([1.0, 0.6, 0.4, 0.4, 0.3])}
SLOWER = 0.3  # log: the second device's kernels of the first sort


def models(rows: int, seed: int) -> Wholes:
    rng = np.random.default_rng(seed)
    total = np.zeros(rows)
    device = rng.integers(0, 2, rows)
    kernels = {}
    for sort, bend in TRUE.items():
        row = rng.integers(0, rows, 8 * rows)
        size, count, work = (
            rng.uniform(0, 4, row.size),
            rng.integers(1, 5, row.size).astype(float),
            rng.lognormal(size=row.size),
        )
        log = np.interp(size, np.arange(5), bend) + (SLOWER * device[row] if sort == ("a",) else 0.0)
        total += np.bincount(row, weights=count * (work * np.exp(log) + 0.01), minlength=rows)
        names = {"device": ("x", "y"), "architecture": ("k",), "framework": ("f",), "version": ("1",)}
        keys = {n: (device[row] if n == "device" else np.zeros(row.size, dtype=int)) for n in KEYS}
        terms = {"work": work, "launch": np.full(row.size, 0.01)}
        ones = np.ones(row.size)
        kernels[sort] = Kernels(Data(terms, {"size": size}, keys, names, ones, ones), row, count)
    return Wholes(kernels, np.maximum(total, 1e-9), np.ones(rows))


def test_the_efficiencies_put_in_come_out_on_models_not_seen() -> None:
    parts = fit(FAMILIES, models(400, 0))
    fresh = models(200, 1)
    error = np.abs(seconds(parts, fresh) / fresh.measured - 1)
    assert np.max(error) < 0.02
    plain = np.abs(seconds(fit(without(FAMILIES, "device"), models(400, 0)), fresh) / fresh.measured - 1)
    assert np.median(plain) > 3 * np.median(error)  # the devices do differ


def test_rows_taken_are_rows_alone() -> None:
    every = models(60, 2)
    rows = np.array([3, 10, 59])
    few = every.take(rows)
    parts = fit(FAMILIES, every)
    np.testing.assert_allclose(seconds(parts, few), seconds(parts, every)[rows])


def test_a_sort_without_a_part_makes_no_total() -> None:
    every = models(20, 3)
    parts = fit(FAMILIES, every)
    del parts["b",]
    assert np.isnan(seconds(parts, every)[np.unique(every.kernels["b",].row)]).all()


def test_rows_of_the_same_kernels_count_once_each() -> None:
    """Two versions of a stack that run the same kernels: the fit is that of both times, worked out on one."""
    from speedlight.costs.refit.whole import _once

    single = models(60, 3)
    kernels = {
        sort: Kernels(
            k.data.take(np.tile(np.arange(k.row.size), 2)), np.concatenate([k.row, k.row + 60]), np.tile(k.count, 2)
        )
        for sort, k in single.kernels.items()
    }
    noise = np.exp(np.random.default_rng(4).normal(0, 0.05, 60))
    both = Wholes(kernels, np.concatenate([single.measured * noise, single.measured / noise]), np.ones(120))
    once, of = _once(both)
    assert once.measured.size == 60
    np.testing.assert_array_equal(of, np.tile(np.arange(60), 2))
    error = np.abs(seconds(fit(FAMILIES, both), single) / single.measured - 1)
    assert np.median(error) < 0.02  # the noise cancels


def test_what_always_comes_together_is_split_as_resources_allow() -> None:
    """One device runs the first kernel alone, at twice its analytic time, the other both at 2.5 times one of them: the fit would have the
    second kernel take half of what its resources allow, unless a floor says that the first kernel is faster there."""
    level = Axis("one", 0, 1)
    blocks = {
        "a": (Block("work", (level,), (), (0.0,), 1e-4), Block("work", (level,), ("device",), (0.0,), 1e-1)),
        "b": (Block("work", (level,), (), (0.0,), 1e-6),),
    }
    families = {(n,): Family(n, ("work",), ("launch",), own, (), (), kernels=None) for n, own in blocks.items()}
    work = np.random.default_rng(5).lognormal(size=100)
    device = np.repeat([0, 1], 50)
    names = {"device": ("x", "y"), "architecture": ("k",), "framework": ("f",), "version": ("1",)}

    def kernels(row: np.ndarray) -> Kernels:
        ones = np.ones(row.size)
        keys = {n: (device[row] if n == "device" else np.zeros(row.size, dtype=int)) for n in KEYS}
        terms = {"work": work[row], "launch": 1e-12 * ones}
        return Kernels(Data(terms, {"one": 0.0 * ones}, keys, names, ones, ones), row, ones)

    second = np.flatnonzero(device == 1)
    both = {("a",): kernels(np.arange(100)), ("b",): kernels(second)}
    rows = Wholes(both, np.where(device == 1, 2.5, 2.0) * work, np.ones(100))
    only = Wholes({("b",): both["b",]}, rows.measured, rows.weight)
    free, held = (seconds(fit(families, rows, least), only)[second] / work[second] for least in (None, {"work": 0.0}))
    assert np.all(free < 0.8)
    assert np.all(held > 0.95)
    again = seconds(fit(families, rows, {"work": 0.0}), rows)
    np.testing.assert_allclose(again, rows.measured, rtol=0.03)
