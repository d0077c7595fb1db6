"""Tiles and waves: exact cases of quantisation, and never less than the useful work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.costs.collective import least_traffic, traffic
from speedlight.costs.matrix import waste
from speedlight.hardware.machine import Engine, Peak

PEAKS = (Peak("matmul", "bf16", "fp32", 1e15), Peak("vector", "fp32", "fp32", 1e13))


def engine(units: int = 108, tiles: tuple[tuple[int, int], ...] = ((128, 128),)) -> Engine:
    return Engine("sm", "simt", units, 1e9, PEAKS, tiles)


def test_whole_tiles_in_whole_waves_waste_nothing() -> None:
    assert waste(engine(), 128 * 12, 128 * 9, 4096, 1) == 1.0


def test_one_more_tile_than_units_costs_a_second_wave() -> None:
    """The textbook case: 109 tiles on 108 units run in two waves (NVIDIA guide, section 3.2)."""
    assert waste(engine(), 128 * 109, 128, 4096, 1) == pytest.approx(216 / 109)


def test_an_edge_tile_computes_padding() -> None:
    assert waste(engine(units=1), 129, 128, 512, 1) == pytest.approx(256 / 129)


def test_few_tiles_split_k_among_idle_units() -> None:
    assert waste(engine(units=8), 128, 128, 8192, 1) == 1.0
    assert waste(engine(units=8), 128, 128, 256, 1) == 8.0  # too short to split


def test_no_tiles_no_waste() -> None:
    assert waste(engine(tiles=()), 3, 5, 7, 1) == 1.0


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 9000), st.integers(1, 64), st.integers(1, 200))
def test_waste_is_at_least_one_and_arrays_agree(m: int, n: int, k: int, batch: int, units: int) -> None:
    chip = engine(units, ((256, 128), (128, 128), (64, 64)))
    alone = waste(chip, float(m), float(n), float(k), float(batch))
    assert alone >= 1
    together = waste(chip, np.array([m, 7.0]), np.array([n, 9.0]), np.array([k, 64.0]), float(batch))
    assert together[0] == pytest.approx(alone)


@given(st.sampled_from(["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"]), st.integers(1, 600))
def test_messages_move_what_the_algorithms_say(name: str, n: int) -> None:
    moved = traffic(name, float(n), 1.0)
    assert moved == pytest.approx({"all_reduce": 2 * (n - 1) / n, "send_recv": float(n > 1)}.get(name, (n - 1) / n))
    for topology in ("switch", "ring"):
        assert least_traffic(name, float(n), 1.0, topology) <= moved
