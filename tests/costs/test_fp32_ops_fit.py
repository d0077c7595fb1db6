"""torch_fp32_ops: what its fit sees of a row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from speedlight._foundation.errors import BadInput
from speedlight.costs.calibration.samples import TABLES, View, assemble
from speedlight.costs.families.torch_ops import conv_view, products_view, stream_view, view_row
from speedlight.costs.families.torch_products import alignment, product
from speedlight.hardware.catalogue import load_machine
from tests.folders import DATA

V100 = load_machine("v100-pcie-32gb")
SHAPES: dict[str, tuple[Callable[..., View], np.ndarray]] = {
    "products": (products_view, np.array([[1, 24, 640], [121, 256, 1024], [1775, 64, 64], [14126, 2048, 1024]], float)),
    "conv": (
        conv_view,
        np.array([[39, 8], [148, 64], [11, 128], [3, 3], [9, 56], [1, 2], [1, 1]], float),
    ),
    "stream": (lambda b, h, machine: stream_view("gelu", b, h, machine), np.array([[1, 4096], [33, 1024]], float)),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_view_of_floats_equals_view_of_arrays(kind: str) -> None:
    make, sizes = SHAPES[kind]
    arrays = make(*sizes, V100)
    for i in range(sizes.shape[1]):
        one = make(*map(float, sizes[:, i]), V100)
        assert float(one.limit) == pytest.approx(np.broadcast_to(arrays.limit, sizes.shape[1])[i])
        for name in ("terms", "coords"):
            for key, value in getattr(one, name).items():
                assert float(value) == pytest.approx(np.broadcast_to(getattr(arrays, name)[key], sizes.shape[1])[i]), (
                    key
                )


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("device", ["v100-pcie-32gb", "mi210"])
@pytest.mark.parametrize("rate", ["tiers.hbm.bandwidth", "peaks", "tdp_w"])
def test_coordinates_hold_no_rate_and_terms_fall_with_it(kind: str, device: str, rate: str) -> None:
    make, sizes = SHAPES[kind]
    machine = load_machine(device)
    before, after = make(*sizes, machine), make(*sizes, machine.scaled(rate, 2.0))
    for name, value in before.coords.items():
        np.testing.assert_array_equal(value, after.coords[name])
    for name, value in before.terms.items():
        assert np.all(after.terms[name] <= value), name
    assert np.all(after.limit <= before.limit)


def test_a_products_second_size_is_summed_over() -> None:
    """M × N times N × K: the launched grid of the row (121, 1775, 14126) covers 121 × 14126 outputs."""
    row = {name: np.array([value]) for name, value in (("B", 1.0), ("M", 121.0), ("N", 1775.0), ("K", 14126.0))}
    view = view_row({"op": "linear"}, row, V100)
    assert view.coords["k"][0] == pytest.approx(np.log2(1775.0))
    assert view.coords["n"][0] == pytest.approx(np.log2(14126.0))


def test_tiles_never_compute_less_than_the_product() -> None:
    p = product(7.0, 130.0, 65.0, 300.0, V100)
    assert p.padded >= p.flops
    assert min(p.excess) == 0.0


def test_the_limit_of_a_3x3_convolution_allows_winograd() -> None:
    view = conv_view(32.0, 256.0, 256.0, 3.0, 28.0, 1.0, 1.0, V100)
    direct = 2.0 * 32 * 28 * 28 * 256 * 256 * 9 / 14.13e12
    assert view.limit == pytest.approx(direct / 4.0, rel=1e-3)
    strided = conv_view(32.0, 256.0, 256.0, 3.0, 28.0, 2.0, 1.0, V100)
    assert strided.limit == pytest.approx(direct / 4.0, rel=1e-3)  # a quarter of the pixels, all of the work


def test_alignment_counts_powers_of_two_to_a_line() -> None:
    assert [alignment(float(n)) for n in (1, 2, 12, 32, 64)] == [0.0, 1.0, 2.0, 5.0, 5.0]


def test_a_missing_size_is_bad_input() -> None:
    with pytest.raises(BadInput, match="H is missing"):
        view_row({"op": "gelu"}, {"B": np.ones(1), "H": np.zeros(1)}, V100)


def test_measured_facts_are_no_inputs() -> None:
    rules = TABLES.get("torch_fp32_ops")
    assert {"latency", "kernel", "grid_x", "grid_y", "grid_z", "block_x", "origin"} <= set(rules.measured)
    assert not set(rules.measured) & {*rules.numbers, *rules.texts}


@pytest.mark.data
def test_rows_are_seen_and_none_beats_its_limit() -> None:
    pd = pytest.importorskip("pandas")
    path = DATA / "kernels" / "torch_fp32_ops.parquet"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    table = pd.read_parquet(path).sample(200, random_state=0)
    rules = TABLES.get("torch_fp32_ops")
    columns = {c: table[c].to_numpy(dtype=object if table[c].dtype.kind not in "ifb" else None) for c in table.columns}
    inputs = {c: v for c, v in columns.items() if c not in rules.measured}
    seen = assemble(rules, rules.targets[0], inputs, len(table))
    assert set(seen.status) == {"ok"}
    assert np.all(table["latency"].to_numpy() >= seen.limit)
    assert all(np.all(np.isfinite(v)) for v in seen.coords.values())
