"""The moe family's view: one look for floats and arrays, no rate in a coordinate, a limit that is one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from speedlight.costs.calibration.samples import TABLES, assemble
from speedlight.costs.families import expert_load, expert_mlp
from speedlight.evidence.tables import read_table, rows_of
from speedlight.hardware.catalogue import load_machine

from ..folders import DATA

H200 = load_machine("h200-sxm-141gb")
PART = expert_mlp.Experts(64.0, 4096.0, 1536.0, 8.0, 128.0, 1.0, 4.0, 1.0, "fp8", "fp8")


def look(tokens, exponent, machine=H200):
    part = replace(PART, tokens=tokens)
    found = expert_load.load(part.tokens, part.picks, part.experts, part.ep, exponent)
    return expert_mlp.view(part, found, float(exponent is None), machine)


@pytest.mark.parametrize("exponent", [None, 1.01, 1.2])
def test_floats_equal_arrays(exponent):
    sizes = np.asarray([1.0, 3.0, 64.0, 4096.0])
    many = look(sizes, exponent)
    for i, tokens in enumerate(sizes.tolist()):
        one = look(tokens, exponent)
        for name, value in one.coords.items():
            assert float(value) == pytest.approx(float(np.broadcast_to(many.coords[name], 4)[i]), abs=1e-12), name
        for name, value in one.terms.items():
            assert float(value) == pytest.approx(float(np.broadcast_to(many.terms[name], 4)[i])), name
        assert float(one.limit) == pytest.approx(float(many.limit[i]))


@pytest.mark.parametrize(("path", "term"), [("tiers.hbm.bandwidth", "memory"), ("peaks", "matmul")])
def test_coordinates_hold_no_rate(path, term):
    """Doubling a rate halves its term and moves no coordinate."""
    fast = H200.scaled(path, 2.0)
    old, new = look(512.0, 1.2), look(512.0, 1.2, fast)
    assert old.coords == new.coords
    assert new.terms[term] == pytest.approx(old.terms[term] / 2)


@pytest.mark.parametrize("exponent", [None, 1.01, 1.2])
def test_limit_is_below_the_sum_of_parts(exponent):
    seen = look(np.asarray([1.0, 16.0, 256.0, 16384.0]), exponent)
    assert np.all(seen.limit <= seen.terms["matmul"] + seen.terms["memory"])


@pytest.mark.parametrize("exponent", [None, 1.01, 1.2])
@pytest.mark.parametrize("ep", [1.0, 4.0, 16.0, 128.0])
def test_loads_are_possible(exponent, ep):
    """No more experts than held or rows; the busiest rank has the mean load at least; tiles cover rows."""
    for tokens in (1.0, 8.0, 100.0, 4096.0):
        found = expert_load.load(tokens, 8.0, 128.0, ep, exponent)
        assert found.least_distinct <= found.distinct + 1e-9
        assert found.distinct <= min(128.0 / ep, found.rows) + 1e-9
        assert found.rows >= found.least_rows - 1e-9
        assert all(count * height >= found.rows - 1e-9 for height, count in found.tiles.items())


def test_all_rows_are_somewhere():
    """On a single rank, rows are tokens × picks whatever the distribution."""
    for exponent in (None, 1.01, 1.2):
        for tokens in (1.0, 7.0, 64.0, 3072.0):
            assert expert_load.load(tokens, 8.0, 256.0, 1.0, exponent).rows == pytest.approx(tokens * 8.0)


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is absent")
@pytest.mark.parametrize("name", ["moe", "wideep_moe"])
def test_measured_rows_lie_above_the_limit(name):
    table = read_table(DATA / "kernels" / f"{name}.parquet")
    few = {k: rows_of(v, slice(None, None, table.rows // 200)) for k, v in table.columns.items()}
    rules = TABLES.get(name)
    rows = len(few["latency"])
    found = assemble(rules, rules.targets[0], {k: v for k, v in few.items() if k not in rules.measured}, rows)
    assert set(found.status) == {"ok"}
    assert np.mean(np.asarray(few["latency"], dtype=float) < found.limit) <= 0.01
    assert all(np.isfinite(values).all() for values in found.coords.values())
