"""Kernels of experts whose tiles go by all ranks' picks over one rank's experts, and what weights are padded to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.costs.calibration.naming import field_of, implementation
from speedlight.costs.families import moe
from speedlight.costs.families.expert_kernels import (
    BY_RANK,
    GEN,
    MARLIN,
    MIXED,
    OAI,
    STEPS,
    TUNED,
    XPU,
    Code,
    code_of,
    laid_out,
    tile,
    usual_code,
)
from speedlight.costs.families.expert_load import TILES
from speedlight.evidence.tables import read_table
from speedlight.hardware.catalogue import load_machine

from ..folders import DATA


@pytest.mark.parametrize(
    ("mean", "ep", "rows"),
    [
        (8.0, 1.0, 8.0),
        (10.0, 1.0, 8.0),  # two tiles: 380 us become 690
        (16.0, 1.0, 8.0),
        (24.0, 1.0, 16.0),
        (48.0, 1.0, 32.0),
        (512.0, 1.0, 32.0),  # none taller
        (16.0, 2.0, 16.0),  # one tile on two ranks: 217 us, 211 with 10 rows and 208 with 8
        (1.0, 64.0, 32.0),
    ],
)
def test_trtllm_gen_takes_the_tile_below_the_one_that_holds_the_rows(mean, ep, rows):
    code = laid_out(GEN, "vllm", "w4a16_mxfp4")
    assert tile(mean, ep, code)[1] == rows


@pytest.mark.parametrize(
    ("name", "mean", "ep", "rows"),
    [
        (TUNED, 10.0, 1.0, 16.0),
        (TUNED, 9.0, 16.0, 256.0),
        (OAI, 1.0, 1.0, 16.0),
        (OAI, 10.0, 4.0, 64.0),
        (OAI, 600.0, 4.0, 128.0),
        (MIXED, 5.0, 4.0, 32.0),
        (XPU, 160.0, 1.0, 256.0),
    ],
)
def test_others_take_the_tile_that_holds_them(name, mean, ep, rows):
    assert tile(mean, ep, laid_out(name, "any", "fp8"))[1] == rows


@given(st.sampled_from([*BY_RANK, ""]), st.floats(2**-6, 2**13), st.sampled_from([1.0, 2.0, 16.0, 128.0]))
def test_tiles_by_rank_depend_on_the_product_alone_and_are_counted_for_every_height(name, mean, ep):
    code = laid_out(name, "sglang", "w4a8_mxfp4_mxfp8")
    step, height = tile(np.asarray([mean]), ep, code)
    assert float(height[0]) in TILES
    assert 0.0 <= step[0] <= STEPS
    whole = tile(np.asarray([mean * ep]), 1.0, code)
    if name in BY_RANK:
        assert (step, height) == whole
    else:
        assert height <= whole[1]


@pytest.mark.parametrize(
    ("kernel", "framework", "number_format", "machine", "name", "hidden", "width"),
    [
        ("sglang_flashinfer_trtllm_moe", "sglang", "w4a16_mxfp4", "b200", GEN, 3072.0, 256.0),
        ("sglang_mxfp4_flashinfer_trtllm_moe", "sglang", "w4a8_mxfp4_mxfp8", "b200", GEN, 2944.0, 128.0),
        ("vllm_x_trtllm_y", "vllm", "w4a8_mxfp4_mxfp8", "b300", GEN, 3072.0, 256.0),
        ("sglang_flashinfer_trtllm_moe", "sglang", "nvfp4", "b200", GEN, 2880.0, 128.0),
        ("vllm_x_trtllm_y", "vllm", "nvfp4", "b200", GEN, 2880.0, 128.0),
        ("vllm_x_trtllm_y", "vllm", "bfloat16", "b200", GEN, 2880.0, 128.0),
        ("moe_torch_flow_min_latency", "trtllm", "nvfp4", "b200", TUNED, 2880.0, 90.0),
        ("moe_torch_flow", "trtllm", "w4a8_mxfp4_mxfp8", "b200", TUNED, 3072.0, 128.0),
        ("moe_torch_flow", "trtllm", "w4a16_mxfp4", "b200", "cutlass", 3072.0, 128.0),
        ("moe_torch_flow", "trtllm", "w4a16_mxfp4", "h100-sxm-80gb", MIXED, 3072.0, 128.0),
        ("vllm_x_marlin_y", "vllm", "w4a16_mxfp4", "rtx-pro-6000-server", MARLIN, 3072.0, 128.0),
        ("vllm_x_marlin_y", "vllm", "int4_wo", "rtx-pro-6000-server", MARLIN, 2880.0, 90.0),
        ("vllm_x_oaitriton_y", "vllm", "w4a16_mxfp4", "h100-sxm-80gb", OAI, 2880.0, 128.0),
        ("vllm_xpu_moe_mxfp4", "vllm", "w4a16_mxfp4", "arc-pro-b60", XPU, 2880.0, 90.0),
        ("vllm_xpu_moe", "vllm", "bfloat16", "arc-pro-b60", "", 2880.0, 90.0),
        ("", "vllm", "w4a16_mxfp4", "h200-sxm-141gb", OAI, 2880.0, 128.0),
        ("", "vllm", "w4a16_mxfp4", "arc-pro-b60", XPU, 2880.0, 90.0),
        ("", "trtllm", "w4a16_mxfp4", "h100-sxm-80gb", MIXED, 3072.0, 128.0),
        ("", "trtllm", "w4a8_mxfp4_mxfp8", "b200", TUNED, 3072.0, 128.0),
        ("", "trtllm", "nvfp4", "b200", "", 2880.0, 90.0),
        ("", "vllm", "nvfp4", "gb200-186gb", GEN, 2880.0, 128.0),
        ("", "vllm", "int4_wo", "b200", MARLIN, 2880.0, 90.0),
        ("", "sglang", "int4_wo", "b200", GEN, 2880.0, 128.0),
    ],
)
def test_what_a_stack_runs_and_pads_gpt_oss_experts_on_32_ranks_to(
    kernel, framework, number_format, machine, name, hidden, width
):
    code = code_of(kernel, framework, number_format, load_machine(machine))
    assert code.name == name
    assert code.padded(2880.0, 90.0) == (hidden, width)


@pytest.mark.parametrize(
    ("framework", "number_format", "width"),
    [("sglang", "nvfp4", 128.0), ("vllm", "nvfp4", 64.0), ("vllm", "bfloat16", 128.0)],
)
def test_narrow_columns_are_whole_tiles_of_the_stacks(framework, number_format, width):
    """B200: 48 and 64 take the time of 128 in SGLang; in vLLM's nvfp4 64 take 0.82 of it."""
    assert usual_code(framework, number_format, load_machine("b200")).padded(7168.0, 48.0) == (7168.0, width)


def test_sizes_that_are_multiples_are_loaded_as_they_are():
    for framework in ("sglang", "vllm", "trtllm"):
        for number_format in ("bfloat16", "nvfp4", "w4a8_mxfp4_mxfp8", "w4a16_mxfp4"):
            code = usual_code(framework, number_format, load_machine("b200"))
            assert code.padded(7168.0, 2048.0) == (7168.0, 2048.0)


def test_padded_weights_take_time_and_do_not_raise_the_limit():
    """A width of 90 takes what 180 takes in memory and products; what physics needs is half of it."""
    cls = {
        "framework": "vllm", "version": "0.24.0", "moe_dtype": "w4a16_mxfp4", "distribution": "balanced",
        "kernel_source": "vllm_gptossmxfp4moe_flashinfer_trtllm_mxfp4_bf16_trtllmmxfp4expertsmonolithic",
    }  # fmt: skip
    rows = {
        "num_tokens": 64.0, "hidden_size": 2880.0, "inter_size": 2880.0, "topk": 4.0, "num_experts": 128.0,
        "moe_tp_size": np.asarray([32.0, 16.0, 8.0]), "moe_ep_size": 1.0,
    }  # fmt: skip
    view = moe.view_row(cls, {n: np.broadcast_to(np.asarray(v), 3) for n, v in rows.items()}, load_machine("b200"))
    for name in ("padded", "stream", "expand", "rounds"):
        assert view.terms[name][0] == view.terms[name][1] < view.terms[name][2], name
    assert view.limit[1] == pytest.approx(2.0 * view.limit[0])


def test_one_name_for_two_kernels_is_told_apart_by_format_and_device():
    assert implementation("moe_torch_flow") == "cutlass"
    key = {"kernel": "moe_torch_flow", "architecture": "Blackwell-hbm", "format": "w4a8_mxfp4_mxfp8"}
    assert field_of(key, "implementation") == "trtllm-gen"
    assert field_of({**key, "format": "w4a16_mxfp4"}, "implementation") == "cutlass"
    assert field_of({**key, "architecture": "Hopper-hbm"}, "implementation") == "cutlass"


def test_sglangs_marlin_multiplies_every_pick_of_mxfp4_on_every_rank():
    """RTX PRO 6000, 128 experts on 64 ranks, 512 tokens: 470 us where vLLM's takes 87, on one rank 1,461 and 1,366."""
    machine = load_machine("rtx-pro-6000-server")
    rows = {
        "num_tokens": 512.0, "hidden_size": 2880.0, "inter_size": 2880.0, "topk": 4.0, "num_experts": 128.0,
        "moe_tp_size": 1.0, "moe_ep_size": np.asarray([1.0, 64.0]),
    }  # fmt: skip
    wide = {n: np.broadcast_to(np.asarray(v), 2) for n, v in rows.items()}
    views = {}
    for framework, kernel in (("sglang", "sglang_marlin_moe"), ("vllm", "vllm_x_marlin_y"), ("sglang", "")):
        cls = {"framework": framework, "version": "", "moe_dtype": "w4a16_mxfp4", "distribution": "balanced"}
        views[framework, kernel] = moe.view_row({**cls, "kernel_source": kernel}, wide, machine).terms["matmul"]
    named, other, blank = views.values()
    assert named == pytest.approx(other * [1.0, 64.0])
    assert named == pytest.approx(blank)


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is absent")
def test_widths_that_are_padded_alike_take_the_same_time():
    """gpt-oss on 32 and 16 ways and others' 16 to 128 columns, B200: medians of pairs within 2 %, where weights are what is waited for."""
    table = read_table(DATA / "kernels" / "moe.parquet")
    columns = {n: np.asarray(table.columns[n]) for n in table.columns}
    names = ("framework", "moe_dtype", "hidden_size", "inter_size", "num_experts", "topk", "moe_ep_size", "num_tokens")
    mean = columns["num_tokens"] * columns["topk"] / columns["num_experts"]
    rows = (columns["system"] == "b200_sxm") & (columns["distribution"] == "balanced") & (mean >= 1) & (mean <= 8)
    rows &= np.char.find(columns["kernel_source"].astype(str), "flashinfer_trtllm") >= 0
    seconds = {}
    for i in np.flatnonzero(rows).tolist():
        width = columns["inter_size"][i] / columns["moe_tp_size"][i]
        seconds[(*(columns[n][i] for n in names), width)] = columns["latency"][i]
    compared = 0
    for framework, number_format in (("sglang", "w4a16_mxfp4"), ("sglang", "bfloat16"), ("vllm", "w4a8_mxfp4_mxfp8")):
        code = laid_out(GEN, framework, number_format)
        ratios = [
            np.log(seconds[(*key[:-1], 2 * key[-1])] / took)
            for key, took in seconds.items()
            if key[:2] == (framework, number_format)
            and (*key[:-1], 2 * key[-1]) in seconds
            and code.padded(1.0, key[-1]) == code.padded(1.0, 2 * key[-1])
        ]
        assert ratios
        assert abs(np.median(ratios)) < 0.02, (framework, number_format)
        compared += len(ratios)
    assert compared > 100


def test_names_of_codes_are_told_apart():
    assert len({GEN, TUNED, OAI, XPU, MIXED, MARLIN}) == 6
    assert set(BY_RANK) == {GEN, TUNED, OAI, XPU, MIXED}
    assert Code().padded(7.0, 9.0) == (7.0, 9.0)
