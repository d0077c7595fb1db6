"""The machine record: peaks and their fallbacks, edits by path, arrays that stay arrays."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.hardware.catalogue import load_machine, machine_ids

H100 = load_machine("h100-sxm-80gb")


def test_an_edit_by_path_leaves_the_original_alone() -> None:
    before = H100.main.bandwidth
    edited = H100.with_values({"tiers.hbm.bandwidth": 4.8e12, "engines.sm.launch_latency_s": 0.0})
    assert (edited.main.bandwidth, edited.engine.launch_latency_s) == (4.8e12, 0.0)
    assert H100.main.bandwidth == before
    assert edited.with_values({"tiers.hbm.bandwidth": before}).tiers == H100.tiers


def test_an_edit_with_a_grade_changes_the_pedigree() -> None:
    edited = H100.with_values({"tiers.hbm.bandwidth": 3.1e12}, grade="measured")
    fact = edited.facts["tiers.hbm.bandwidth"]
    assert (fact.value, fact.grade) == (3.1e12, "measured")
    assert H100.facts["tiers.hbm.bandwidth"].grade == "published"


def test_peaks_by_path() -> None:
    engine = H100.with_values({"engines.sm.peaks.matmul.bf16": 800e12}).engine
    assert engine.peak("matmul", "bf16")[0].flops == 800e12
    assert engine.peak("matmul", "bf16")[0].sparse_flops == pytest.approx(1600e12, rel=1e-3)
    assert engine.peak("matmul", "fp16")[0].flops == H100.engine.peak("matmul", "fp16")[0].flops
    assert H100.with_values({"engines.sm.peaks": 0.5}).engine.peak("matmul", "fp8")[0].flops == pytest.approx(989.45e12)
    rtx = load_machine("rtx-4090").with_values({"engines.sm.peaks.matmul.fp16.fp16": 300e12})
    assert rtx.engine.peak("matmul", "fp16")[0].flops == pytest.approx(165.2e12)
    assert rtx.engine.peak("matmul", "fp16", "fp16")[0].flops == 300e12


@pytest.mark.parametrize(
    "path",
    [
        "", "tiers", "tiers.hbm", "tiers.nothing.bandwidth", "tiers.hbm.nothing", "tiers.hbm.bandwidth.real", "tiers.hbm.name",
        "id", "facts", "facts.x", "price", "engines.sm.peaks.matmul.fp99", "engines.sm.peaks.matmul.bf16.fp16", "engines.gpu.peaks",
        "__class__", "with_values", "domains.nvlink.bandwidth",
    ],
)  # fmt: skip
def test_a_path_that_names_no_figure_is_refused(path: str) -> None:
    with pytest.raises(BadInput):
        H100.with_values({path: 1.0})
    with pytest.raises(BadInput):
        H100.scaled(path, 2.0)


@pytest.mark.parametrize(
    "value", [-1.0, float("nan"), float("inf"), np.array([1.0, -1.0]), np.array([np.nan]), "3 TB/s", None]
)
def test_nonsense_values_are_refused(value: object) -> None:
    with pytest.raises(BadInput):
        H100.with_values({"tiers.hbm.bandwidth": value})


def test_scaling_an_unknown_figure_says_so() -> None:
    with pytest.raises(BadInput, match="unknown"):
        H100.scaled("tiers.hbm.energy_per_byte", 2.0)
    assert H100.with_values({"tiers.hbm.energy_per_byte": 3e-11}).scaled("tiers.hbm.energy_per_byte", 2.0)


def test_scaled_groups() -> None:
    dgx = load_machine("dgx-h100")
    faster = dgx.scaled("links", 2.0)
    assert faster.domains[0].bandwidth == 2 * dgx.domains[0].bandwidth
    assert [k.bandwidth for k in faster.links] == [2 * k.bandwidth for k in dgx.links]
    assert faster.tiers == dgx.tiers
    quick = dgx.scaled("peaks", 1.5)
    assert quick.engine.peak("vector", "fp32")[0].flops == pytest.approx(
        1.5 * dgx.engine.peak("vector", "fp32")[0].flops
    )
    assert quick.engine.clock_hz == dgx.engine.clock_hz


def test_arrays_stay_arrays() -> None:
    sweep = np.linspace(1e12, 8e12, 5)
    machine = H100.with_values({"tiers.hbm.bandwidth": sweep})
    assert machine.main.bandwidth is sweep
    doubled = machine.scaled("tiers.hbm.bandwidth", 2.0)
    np.testing.assert_allclose(doubled.main.bandwidth, 2 * sweep)
    factors = np.array([[0.5], [1.0]])
    assert machine.scaled("tiers.hbm.bandwidth", factors).main.bandwidth.shape == (2, 5)
    assert H100.scaled("peaks", factors).engine.peak("matmul", "bf16")[0].flops.shape == (2, 1)


@given(
    name=st.sampled_from(machine_ids()),
    figure=st.sampled_from(["bandwidth", "capacity_bytes", "latency_s"]),
    factor=st.floats(1e-3, 1e3),
)
def test_scaling_is_multiplication_and_touches_one_figure(name: str, figure: str, factor: float) -> None:
    machine = load_machine(name)
    path = f"tiers.{machine.main.name}.{figure}"
    scaled = machine.scaled(path, factor)
    assert getattr(scaled.main, figure) == pytest.approx(getattr(machine.main, figure) * factor)
    assert scaled.with_values({path: getattr(machine.main, figure)}) == machine


def test_a_format_without_a_peak_widens_and_tells() -> None:
    peak, widened = load_machine("a100-sxm-80gb").engine.peak("matmul", "fp8")
    assert (peak.format, widened) == ("bf16", ("fp8",))
    peak, widened = load_machine("p100-pcie-16gb").engine.peak("matmul", "bf16")
    assert (peak.unit, peak.format, widened) == ("vector", "fp16", ("bf16",))
    peak, widened = load_machine("tpu-v4").engine.peak("transcendental", "fp32")
    assert (peak.unit, widened) == ("vector", ())


def test_accumulators() -> None:
    engine = load_machine("rtx-3090").engine
    assert engine.peak("matmul", "fp16")[0].accumulate == "fp32"
    assert engine.peak("matmul", "fp16", "fp16")[0].flops == pytest.approx(
        2 * engine.peak("matmul", "fp16")[0].flops, rel=0.01
    )
    assert engine.peak("matmul", "bf16", "fp16")[0].accumulate == "fp32"  # an accumulator it has not: what it has


def test_an_impossible_format_is_refused_with_a_hint() -> None:
    with pytest.raises(BadInput, match="complex64"):
        H100.engine.peak("matmul", "complex64")


def test_named_tiers() -> None:
    assert H100.tier("l2").role == "cache"
    with pytest.raises(BadInput, match="l2, hbm"):
        H100.tier("dram")


def test_assumptions_are_listed_by_path() -> None:
    everything = H100.assumptions()
    tiers = H100.assumptions(("tiers.",))
    assert {a.what for a in tiers} < {a.what for a in everything}
    assert all(a.grade == "assumed" and a.what.startswith("h100-sxm-80gb tiers.") for a in tiers)


def test_a_machine_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(H100)) == H100
    assert copy.deepcopy(H100).facts == H100.facts
    assert hash(H100) == hash(pickle.loads(pickle.dumps(H100)))
    with pytest.raises(TypeError):
        H100.facts["x"] = H100.facts["tdp_w"]  # type: ignore[index]
