"""gemm: what its fit sees, and what the shipped fit says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.costs.calibration.samples import TABLES, assemble
from speedlight.costs.calibration.store import shipped
from speedlight.costs.families.gemm import FORMATS, coords_of, path_of, terms_of
from speedlight.costs.kernel import ask, ask_one
from speedlight.hardware.catalogue import load_machine

MACHINES = ("h100-sxm-80gb", "b200-sxm-180gb", "a100-sxm-80gb", "rtx-4090", "arc-pro-b60", "mi300x")
sizes = st.integers(0, 15).flatmap(lambda e: st.integers(2**e, 2 ** (e + 1)))
wide = st.sampled_from([32, 96, 256, 1000, 1024, 4096, 5120, 14336, 51200])


def test_floats_and_arrays_agree():
    machine = load_machine("h100-sxm-80gb")
    m, n, k = np.array([1.0, 7.0, 4096.0]), np.array([64.0, 1024.0, 51200.0]), np.array([4096.0, 96.0, 256.0])
    together = coords_of(m, n, k, (2.0, 2.0, True), machine)
    for i in range(3):
        alone = coords_of(float(m[i]), float(n[i]), float(k[i]), (2.0, 2.0, True), machine)
        for name, value in alone.items():
            assert value == pytest.approx(np.broadcast_to(together[name], 3)[i], abs=1e-12), name


def test_coordinates_hold_no_rate():
    machine = load_machine("h100-sxm-80gb")
    faster = machine.scaled("tiers.hbm.bandwidth", 2.0).scaled("peaks", 3.0)
    assert coords_of(8.0, 4096.0, 4096.0, (2.0, 2.0, False), machine) == coords_of(
        8.0, 4096.0, 4096.0, (2.0, 2.0, False), faster
    )
    before, after = (terms_of(8.0, 4096.0, 4096.0, (2.0, 2.0, True), 1e-6, m) for m in (machine, faster))
    assert after["memory"] == before["memory"] / 2
    assert after["quantize"] == before["quantize"] / 2


def test_formats_without_a_unit_run_in_16_bit():
    assert path_of("fp8", load_machine("h100-sxm-80gb")) == "fp8"
    assert path_of("fp8", load_machine("a100-sxm-80gb")) == "16-bit"
    assert path_of("int4_wo", load_machine("h100-sxm-80gb")) == "16-bit"


@settings(max_examples=60, deadline=None)
@given(sizes, wide, wide, st.sampled_from(MACHINES), st.sampled_from(["vllm", "trtllm", "sglang", "never heard of"]))
def test_laws_of_the_shipped_fit(m, n, k, device, framework):
    machine = load_machine(device)
    texts = {"gemm_dtype": "bfloat16", "framework": framework}
    ms = np.unique(np.concatenate([2.0 ** np.arange(0, 16), [m, m + 1]]))
    said = ask("gemm", machine, texts, {"m": ms, "n": n, "k": k})
    assert np.all(said.limit <= said.low)
    assert np.all(said.low <= said.seconds)
    assert np.all(said.seconds <= said.high)
    # Faster parts never cost time.
    for path in ("tiers." + machine.main.name + ".bandwidth", "peaks"):
        better = ask("gemm", machine.scaled(path, 1.3), texts, {"m": ms, "n": n, "k": k})
        assert np.all(better.seconds <= said.seconds * (1 + 1e-9)), path


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1024, 4096, 5120, 14336]), st.sampled_from([1024, 4096, 5120, 14336]))
def test_more_tokens_hardly_ever_cost_less(n, k):
    """Against the running maximum within 1.35, on aligned sizes of the stacks' 16-bit kernels (steps of odd sizes are real)."""
    m = 2.0 ** np.arange(3, 16)
    for device in ("h100-sxm-80gb", "h200-sxm-141gb", "a100-sxm-80gb", "rtx-4090"):
        for framework in ("vllm", "trtllm", "sglang"):
            said = ask(
                "gemm",
                load_machine(device),
                {"gemm_dtype": "bfloat16", "framework": framework},
                {"m": m, "n": n, "k": k},
            )
            assert np.all(said.seconds * 1.35 >= np.maximum.accumulate(said.seconds)), (device, framework)


def test_equal_shapes_are_priced_once_and_alike():
    machine = load_machine("b200-sxm-180gb")
    rng = np.random.default_rng(0)
    m, n, k = (rng.choice(np.array(v, dtype=float), 20_000) for v in ([1, 8, 100], [1024, 4096], [512, 7168]))
    said = ask("gemm", machine, {"gemm_dtype": "fp8", "framework": "vllm"}, {"m": m, "n": n, "k": k})
    for i in (0, 777, 19_999):
        one = ask("gemm", machine, {"gemm_dtype": "fp8", "framework": "vllm"}, {"m": m[i], "n": n[i], "k": k[i]})
        assert one.seconds[0] == pytest.approx(said.seconds[i], rel=1e-6)


def test_one_point_is_what_an_array_of_it_says():
    machine = load_machine("h100-sxm-80gb")
    texts = {"gemm_dtype": "fp8_block", "framework": "vllm"}
    for m in (1, 7, 4096):
        sizes = {"m": m, "n": 7168, "k": 2048}
        one, many = ask_one("gemm", machine, texts, sizes), ask("gemm", machine, texts, sizes)
        assert one.time == pytest.approx(many.seconds[0], rel=1e-9)
        assert one.depth == many.depth[0]


def test_every_format_is_answered_where_it_can_run():
    machine = load_machine("b200-sxm-180gb")
    for named in FORMATS:
        if named != "float32":
            said = ask("gemm", machine, {"gemm_dtype": named, "framework": "trtllm"}, {"m": 64, "n": 4096, "k": 4096})
            assert said.limit[0] <= said.seconds[0] < 1e-3, named


def test_the_shipped_fit_says_what_it_rests_on():
    fit = shipped("gemm")
    assert fit is not None
    assert fit.header["tables"][0]["name"] == "gemm"
    by = {e["leave"]: e for e in fit.header["cross_validation"]}
    assert by["group"]["median_ape"] < 0.04
    assert by["device"]["median_ape"] > by["group"]["median_ape"]
    assert 0.75 < by["group"]["coverage_80"] < 0.85


def test_rows_that_cannot_be_predicted_say_why():
    rules = TABLES.get("gemm")
    columns = {
        "device": np.array(["NVIDIA H100 80GB HBM3", "abacus", "NVIDIA H100 80GB HBM3"], dtype=object),
        "framework": np.array(["vllm"] * 3, dtype=object), "gemm_dtype": np.array(["bfloat16", "fp8", "fp3"], dtype=object),
        "m": np.array([0.0, 1.0, 1.0]), "n": np.array([1.0, 1.0, 1.0]), "k": np.array([1.0, 1.0, 1.0]),
    }  # fmt: skip
    status = assemble(rules, rules.targets[0], columns, 3).status
    assert status[0] == "invalid:m"
    assert status[1] == "unknown-device"
    assert str(status[2]).startswith("unsupported:")


def test_sizes_that_are_none_are_named() -> None:
    machine = load_machine("h100-sxm-80gb")
    for rows in (3, 20_000):
        m = np.ones(rows)
        m[2] = 0.5
        with pytest.raises(BadInput, match="invalid:m at point 2"):
            ask("gemm", machine, {"gemm_dtype": "bfloat16", "framework": "vllm"}, {"m": m, "n": 4096, "k": 4096})
