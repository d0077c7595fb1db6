"""Reading tables: merged ones say what they did apart, one point what an array says, and trees what a walk says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.costs.calibration.blocks import Axis
from speedlight.costs.calibration.choice import Choice, Tree
from speedlight.costs.calibration.merging import MOST, Plane, merged
from speedlight.costs.calibration.reading import MANY, Reader
from speedlight.costs.families.gemm import alignment

AXES = (
    Axis("a", 0, 4), Axis("a", -1, 3, 0.5), Axis("a", 0, 6, 2), Axis("a", 0.25, 3.25), Axis("b", 5, 17, 3),
    Axis("b", 5, 16), Axis("c", -9, 8, 0.25), Axis("c", -4, 6, 0.125),
)  # fmt: skip


@st.composite
def planes(draw: st.DrawFn) -> list[Plane]:
    """Tables of two terms over one to three different coordinates."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    found = []
    for _ in range(draw(st.integers(1, 7))):
        axes = draw(st.lists(st.sampled_from(AXES), min_size=1, max_size=3, unique_by=lambda a: a.coord))
        size = int(np.prod([a.count for a in axes]))
        found.append((draw(st.sampled_from(["total", "memory"])), tuple(axes), rng.normal(size=size)))
    return found


def points() -> dict[str, np.ndarray]:
    """Inside and far outside of all axes."""
    rng = np.random.default_rng(7)
    return {"a": rng.uniform(-4, 9, 300), "b": rng.uniform(0, 20, 300), "c": rng.uniform(-12, 12, 300)}


@settings(max_examples=60, deadline=None)
@given(planes())
def test_merged_tables_say_what_they_said_apart(tables: list[Plane]) -> None:
    few = merged(tables)
    assert len(few) <= len(tables)
    apart: dict[str, np.ndarray] = {}
    for table in tables:
        for term, value in Reader([table]).read(points()).items():
            apart[term] = apart.get(term, 0.0) + value
    together = Reader(few).read(points())
    assert together.keys() == apart.keys()
    for term, value in apart.items():
        np.testing.assert_allclose(together[term], value, rtol=0, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(planes())
def test_one_point_says_what_an_array_says(tables: list[Plane]) -> None:
    reader = Reader(merged(tables))
    many = reader.read(points())
    for i in range(0, 300, 37):
        one = reader.read({name: float(values[i]) for name, values in points().items()})
        for term, value in one.items():
            assert value == pytest.approx(many[term][i], rel=1e-13, abs=1e-13)


def test_merging_knows_where_to_stop() -> None:
    large = Axis("a", 0, 200)
    shifted = Axis("a", 0.3, 4.3)
    tables = [
        ("total", (large, Axis("b", 0, 70)), np.ones(201 * 71)),
        ("total", (Axis("a", 0, 200, 0.5),), np.ones(401)),  # exact only on more nodes than stay in a cache
        ("total", (shifted,), np.ones(5)),  # nodes that lie between
        ("memory", (large,), np.ones(201)),  # of another term
    ]
    assert MOST < 401 * 71
    assert sorted(map(str, (t[:2] for t in merged(tables)))) == sorted(map(str, (t[:2] for t in tables)))


def test_trees_choose_alike_for_one_and_for_many() -> None:
    tree = Tree(
        (0, 1, -1, -1, -1), (2.0, 5.0, 0.0, 0.0, 0.0), (1, 3, -1, -1, -1), (2, 4, -1, -1, -1), ("", "", "x", "y", "x")
    )
    choice = Choice(("a", "b"), {("vllm",): tree})
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (40, 1)).astype(float), rng.integers(0, 9, (1, 30)).astype(float)
    many = choice.kernels({"framework": "vllm"}, {"a": a, "b": b})
    assert many.shape == (40, 30)
    for i, j in ((0, 0), (7, 29), (39, 3)):
        one = choice.kernels({"framework": "vllm"}, {"a": float(a[i, 0]), "b": float(b[0, j])})
        assert many[i, j] == one == ("x" if a[i, 0] > 2 or b[0, j] > 5 else "y")
    assert choice.kernels({"framework": "never heard of"}, {"a": a, "b": b}) == ""


def test_alignment_is_the_power_of_two_that_divides() -> None:
    sizes = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 24.0, 48.0, 4096.0, 151936.0, 2.5, 0.5, 1e12])
    wanted = [sum(size % power == 0 for power in (2.0, 4.0, 8.0, 16.0)) for size in sizes]
    assert alignment(sizes).tolist() == wanted
    assert [alignment(float(size)) for size in sizes] == wanted


def test_coordinates_that_are_one_number_are_taken_out() -> None:
    rng = np.random.default_rng(3)
    tables = [
        ("total", AXES[:1] + AXES[4:5] + AXES[6:7], rng.normal(size=5 * 5 * 69)),
        ("total", AXES[4:5], np.ones(5)),
    ]
    reader = Reader(merged(tables))
    a = rng.uniform(0, 4, MANY)
    fixed = reader.read({"a": a, "b": np.full(MANY, 8.5), "c": 0.3})
    for i in (0, 5, MANY - 1):
        assert fixed["total"][i] == pytest.approx(
            reader.read({"a": float(a[i]), "b": 8.5, "c": 0.3})["total"], rel=1e-12
        )
