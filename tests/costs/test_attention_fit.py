"""What fits see of attention: the same for floats and arrays, without rates in coordinates, never below physics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from speedlight.costs.calibration.naming import instructions
from speedlight.costs.calibration.samples import TABLES, architecture_of, assemble
from speedlight.costs.families import attention, attention_decode, attention_prefill
from speedlight.costs.families.attention import NO_WINDOW, Shape
from speedlight.evidence.tables import read_table
from speedlight.hardware.catalogue import load_machine

from ..folders import DATA

H100 = load_machine("h100-sxm-80gb")
DECODE = Shape(32.0, 1.0, 4095.0, 32.0, 8.0, 128.0, 128.0, NO_WINDOW)
WINDOWED = dataclasses.replace(DECODE, window=128.0)
PREFILL = Shape(4.0, 1536.0, 0.0, 32.0, 8.0, 128.0, 128.0, NO_WINDOW)
ENCODER = dataclasses.replace(PREFILL, kv_heads=32.0, causal=False)
CASES = [
    (attention_decode.view, DECODE),
    (attention_decode.view, WINDOWED),
    (attention_prefill.view, PREFILL),
    (attention_prefill.view, ENCODER),
]
SIZES = ("batch", "new", "cached", "heads", "kv_heads", "qk_dim", "v_dim", "window")


@pytest.mark.parametrize(("view", "shape"), CASES)
def test_floats_and_arrays_agree(view, shape: Shape) -> None:
    many = dataclasses.replace(shape, **{n: np.full(3, getattr(shape, n)) for n in SIZES})
    one, three = view(shape, 1e-6, H100), view(many, 1e-6, H100)
    for left, right in ((one.terms, three.terms), (one.coords, three.coords)):
        assert left.keys() == right.keys()
        for name in left:
            assert np.allclose(left[name], right[name]), name
    assert np.allclose(attention.cost_of(shape, H100).limit, attention.cost_of(many, H100).limit)


@pytest.mark.parametrize(("view", "shape"), CASES)
def test_coordinates_hold_no_rate(view, shape: Shape) -> None:
    faster = H100.scaled("tiers.hbm.bandwidth", 2.0).scaled("tiers.l2.bandwidth", 2.0).scaled("peaks", 2.0)
    slow, fast = view(shape, 0.0, H100), view(shape, 0.0, faster)
    assert slow.coords == fast.coords
    # Round trips, launches and shared memory (a width a clock) keep their pace.
    for name in slow.terms.keys() - {"launch", "chain", "items", "warp", "masked"}:
        assert fast.terms[name] == pytest.approx(slow.terms[name] / 2), name


@pytest.mark.parametrize(("view", "shape"), CASES)
def test_limit_is_at_most_the_parts(view, shape: Shape) -> None:
    limit = attention.cost_of(shape, H100).limit
    assert 0 < limit <= sum(view(shape, limit, H100).terms.values())


def test_tiles_of_a_causal_mask() -> None:
    assert attention_prefill.tiles(512.0, NO_WINDOW, True, 128.0) == (10.0, 4.0)
    assert attention_prefill.tiles(512.0, NO_WINDOW, False, 128.0) == (16.0, 4.0)
    count, longest = attention_prefill.tiles(512.0, 129.0, True, 128.0)
    assert (count, longest) == (7.0, 2.0)  # 1 + 2 + 2 + 2: the own tile and the one before


def test_shared_memory_feeds_a_part_of_newer_matrix_units() -> None:
    def share(machine: str) -> float:
        terms = attention_prefill.view(PREFILL, 0.0, load_machine(machine)).terms
        return float(terms["matmul"] * attention_prefill.ATTAINED / terms["warp"])

    assert share("a100-sxm-80gb") == pytest.approx(1.0, rel=0.01)  # 16 FLOP/B * 128 B = its 2048 FLOP a clock
    # A half and a quarter at one clock; tensor peaks are stated at a lower one than shared memory boosts to.
    assert share("h100-sxm-80gb") == pytest.approx(0.5 * 1.98 / 1.83, rel=0.01)
    assert share("b200-sxm-180gb") == pytest.approx(0.25 * 1.965 / 1.856, rel=0.01)
    assert share("rtx-pro-6000-server-96gb") == pytest.approx(1.0)


def test_windows_that_only_mask_cost_all_tiles() -> None:
    windowed = dataclasses.replace(PREFILL, window=128.0)
    b60 = load_machine("arc-pro-b60")
    full, masked = (attention_prefill.view(s, 0.0, b60).terms["matmul"] for s in (PREFILL, windowed))
    assert masked == full
    terms = attention_prefill.view(windowed, 0.0, H100).terms
    whole = attention_prefill.view(PREFILL, 0.0, H100).terms["warp"]
    assert terms["warp"] + terms["masked"] / attention_prefill.RARE == pytest.approx(whole)


def test_only_devices_without_fp8_widen_in_software() -> None:
    narrow = dataclasses.replace(DECODE, kv="fp8")
    assert attention_decode.view(narrow, 0.0, load_machine("arc-pro-b60")).terms["convert"] > 0
    assert attention_decode.view(narrow, 0.0, H100).terms["convert"] == 0
    assert attention_decode.view(DECODE, 0.0, load_machine("arc-pro-b60")).terms["convert"] == 0


@pytest.mark.parametrize(
    ("machine", "driven"),
    [("h200-sxm-141gb", "wgmma"), ("b300-sxm-288gb", "tcgen05"), ("rtx-pro-6000-server-96gb", "mma.sync"),
     ("a100-sxm-80gb", "mma.sync"), ("l40s", "mma.sync"), ("mi300x", "CDNA-hbm"), ("arc-pro-b60", "Xe2-HPG-gddr")],
)  # fmt: skip
def test_kinds_of_kernel(machine: str, driven: str) -> None:
    device = load_machine(machine)
    assert instructions(architecture_of(device)) == driven
    assert attention.beyond_registers(device) == (driven in ("wgmma", "tcgen05"))


def test_windows_limit_what_decode_reads() -> None:
    full, part = attention.cost_of(DECODE, H100), attention.cost_of(WINDOWED, H100)
    assert part.limit < full.limit / 16


def test_one_buffer_halves_decode_bytes() -> None:
    big = dataclasses.replace(DECODE, batch=256.0)
    both = attention.cost_of(big, H100).limit
    assert attention.cost_of(dataclasses.replace(big, one_buffer=True), H100).limit == pytest.approx(both / 2, rel=0.02)


@pytest.mark.data
@pytest.mark.parametrize("name", ["attention_decode", "attention_prefill", "attention_encoder"])
def test_rows_of_the_table_have_views(name: str) -> None:
    path = DATA / "kernels" / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"no {path}")
    rules = TABLES.get(name)
    table = read_table(path)
    take = np.linspace(0, table.rows - 1, 200).astype(int)
    columns: Mapping[str, np.ndarray] = {n: v[take] for n, v in table.columns.items()}
    inputs = {n: v for n, v in columns.items() if n not in rules.measured}
    samples = assemble(rules, rules.targets[0], inputs, take.size)
    assert set(samples.status) == {"ok"}
    assert (samples.limit > 0).all()
    assert (columns["latency"].astype(float) >= samples.limit).all()
    used = {
        a.coord
        for stage in (rules.targets[0].family.shared, *rules.targets[0].family.local)
        for b in stage
        for a in b.axes
    }
    for coord in used | set(rules.targets[0].family.choice):
        assert np.isfinite(samples.coords[coord]).all(), coord


def test_what_a_code_does_in_a_format_holds_on_devices_never_measured() -> None:
    """Blocks of a kernel by format are there for the named terms alone, and none of them looks at a device."""
    for family, terms in (
        (attention_prefill.PREFILL, {"matmul"}),
        (attention_decode.FAMILY, {"cache", "items", "chain"}),
    ):
        added = [b for b in family.shared if b.per[:1] == ("implementation",) and b.per[-1] == "format"]
        assert {b.term for b in added} == terms
        alike = [b for b in family.shared if b.per == added[0].per[:-1] and b.term in terms]
        assert [(b.term, b.axes, b.smooth) for b in added] == [(b.term, b.axes, b.smooth) for b in alike]
        assert not any({"device", "architecture"} & set(b.per) for b in family.shared)
