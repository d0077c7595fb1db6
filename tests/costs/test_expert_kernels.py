"""What kernels of experts decide: tiles, rates, whose picks they take."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.costs.calibration.naming import implementation
from speedlight.costs.families import expert_load, moe
from speedlight.costs.families.expert_kernels import (
    FEW,
    MANY,
    MARLIN,
    PLAIN,
    code_of,
    reachable,
    ruled,
    tile,
    usual_code,
)
from speedlight.costs.families.expert_mlp import FORMATS, Experts
from speedlight.costs.families.tile_files import FILES, has_file
from speedlight.evidence.tables import read_table
from speedlight.hardware.catalogue import load_machine

from ..folders import DATA


@pytest.mark.parametrize(
    ("mean", "ep", "rows"),
    [
        (7.0, 1.0, 8.0),
        (8.0, 1.0, 16.0),
        (15.0, 1.0, 32.0),
        (42.0, 1.0, 48.0),
        (44.0, 1.0, 64.0),
        (500.0, 1.0, 64.0),
        (2.0, 8.0, 32.0),
    ],
)
def test_marlin_takes_the_block_its_source_says(mean, ep, rows):
    assert tile(mean, ep, MARLIN)[1] == rows


def test_other_tiles_are_the_power_of_two_above_an_experts_mean_rows():
    for mean, step, rows in ((0.1, 0, 8), (8.0, 3, 8), (9.0, 4, 16), (66.0, 7, 128), (1000.0, 10, 128)):
        assert tile(mean, 8.0, "triton") == (step, rows)


@pytest.mark.parametrize("code", [MARLIN, ""])
def test_tiles_of_an_array_are_those_of_its_values(code):
    means = np.asarray([0.5, 7.9, 33.0, 57.0, 4096.0])
    steps, rows = tile(means, 2.0, code)
    for i, mean in enumerate(means.tolist()):
        assert tile(mean, 2.0, code) == (steps[i], rows[i])


@pytest.mark.parametrize(
    ("tokens", "held", "width", "device", "expected"),
    [
        (128.0, 128.0, 1536.0, "h100-sxm-80gb", (FEW, 16.0)),
        (160.0, 128.0, 1536.0, "h100-sxm-80gb", (MANY, 64.0)),
        (160.0, 64.0, 1536.0, "h100-sxm-80gb", (3.0, 8.0)),  # there is a file: the usual tile
        (160.0, 64.0, 1536.0, "h200-sxm-141gb", (MANY, 64.0)),
        (1.0, 128.0, 704.0, "l40s", (FEW, 16.0)),
        (1.0, 128.0, 928.0, "l40s", (3.0, 8.0)),
    ],
)
def test_triton_goes_by_its_rule_where_no_file_names_a_tile(tokens, held, width, device, expected):
    assert ruled(tokens, held, width, device, (3.0, 8.0)) == expected
    several = ruled(np.asarray([tokens, 1e9]), held, width, device, (np.full(2, 3.0), np.full(2, 8.0)))
    assert (several[0][0], several[1][0]) == expected


def test_files_of_tiles_are_of_machines_we_know():
    for device, listed in FILES.items():
        assert load_machine(device).device_id == device
        pairs = [tuple(float(n) for n in pair.split("x")) for pair in listed.split()]
        assert len(set(pairs)) == len(pairs)
        assert all(has_file(device, *pair) for pair in pairs)
        assert not has_file(device, 3.0, 7.0)


@pytest.mark.parametrize(
    ("kernel", "framework", "number_format", "machine", "code"),
    [
        ("sglang_fused_moe_triton", "sglang", "bfloat16", "h100-sxm-80gb", PLAIN),
        ("sglang_fused_moe_triton", "sglang", "fp8_block", "h100-sxm-80gb", "triton"),
        ("vllm_fused_moe", "vllm", "bfloat16", "a100-sxm-80gb", PLAIN),
        ("vllm_unquantizedfusedmoe_triton_tritonexperts", "vllm", "bfloat16", "h100-sxm-80gb", "triton"),
        ("", "sglang", "bfloat16", "rtx-pro-6000-server", PLAIN),
        ("", "sglang", "bfloat16", "b200", ""),
        ("", "vllm", "bfloat16", "h100-sxm-80gb", ""),
    ],
)
def test_whose_tiles_go_by_tritons_rule(kernel, framework, number_format, machine, code):
    assert code_of(kernel, framework, number_format, load_machine(machine)) == code


def test_marlin_has_an_ampere_units_rate_and_never_more_than_the_peak():
    b200, a100, rtx = (load_machine(name).engine for name in ("b200", "a100-sxm-80gb", "rtx-pro-6000-server"))
    assert reachable(2.25e15, b200, MARLIN) == pytest.approx(148 * 1.965e9 * 2048)
    assert reachable(2.25e15, b200, "trtllm-gen") == 2.25e15
    assert reachable(312e12, a100, MARLIN) == pytest.approx(312e12, rel=1e-3)
    assert reachable(503.8e12, rtx, MARLIN) == 503.8e12


@pytest.mark.parametrize(
    ("ep", "share"), [(1.0, 8.0), (2.0, 8.0), (4.0, 6.0), (8.0, 5.0), (32.0, 4.25), (128.0, 2.0625)]
)
def test_deepseeks_rule_brings_even_picks_to_the_first_experts(ep, share):
    """Half of each token's eight picks falls on the first four experts; the rest spreads over the first four groups."""
    found = expert_load.limited(np.asarray([64.0, 4096.0]), 8.0, 256.0, ep, None)
    assert found.rows == pytest.approx(np.asarray([64.0, 4096.0]) * share)
    assert np.all(found.distinct <= 256.0 / ep)
    for height, count in found.tiles.items():
        assert np.all(count * height >= found.rows)


def test_deepseeks_rule_touches_half_the_experts():
    few = [
        float(expert_load.limited(tokens, 8.0, 256.0, 1.0, None).distinct) for tokens in (1.0, 2.0, 8.0, 32.0, 512.0)
    ]
    assert few == pytest.approx([8, 12, 35, 128, 128], abs=0.3)


@pytest.mark.parametrize("exponent", [1.01, 1.2])
def test_deepseeks_rule_loads_the_first_rank_whatever_was_busiest(exponent):
    tokens = np.asarray([1.0, 64.0, 1024.0, 16384.0])
    for ep, least, most in ((1.0, 1.0, 1.0), (4.0, 1.3, 1.7), (16.0, 1.8, 2.4), (64.0, 2.3, 4.2)):
        usual = expert_load.load(tokens, 8.0, 256.0, ep, exponent)
        found = expert_load.limited(tokens, 8.0, 256.0, ep, exponent)
        times = (found.rows / usual.rows)[1:]
        assert np.all((times > 0.999 * least) & (times < 1.001 * most))
        assert np.all(found.rows <= tokens * 8.0 * (1.0 + 1e-9))
        assert np.all(found.distinct <= np.minimum(256.0 / ep, found.rows) * (1.0 + 1e-9))
        assert all(np.all(count * height >= found.rows * (1.0 - 1e-9)) for height, count in found.tiles.items())
        single = expert_load.limited(1024.0, 8.0, 256.0, ep, exponent)
        assert float(single.rows) == pytest.approx(found.rows[2])


@pytest.mark.parametrize(
    ("framework", "version", "kernel", "hidden", "experts", "picks", "limited"),
    [
        ("sglang", "0.5.14", "sglang_fused_moe_triton", 7168.0, 256.0, 8.0, True),
        ("vllm", "0.24.0", "", 7168.0, 256.0, 8.0, True),
        ("vllm", "0.24.0", "", 7168.0, 384.0, 8.0, False),
        ("vllm", "0.24.0", "", 6144.0, 256.0, 8.0, False),
        ("sglang", "0.5.10", "sglang_marlin_moe", 7168.0, 256.0, 8.0, False),
        ("trtllm", "1.3.0rc20", "deepgemm", 7168.0, 256.0, 8.0, False),
        ("trtllm", "1.3.0rc20", "moe_torch_flow_min_latency", 6144.0, 160.0, 8.0, True),
        ("trtllm", "1.3.0rc20", "moe_torch_flow_min_latency", 6144.0, 128.0, 4.0, False),
    ],
)  # fmt: skip
def test_whose_rows_deepseeks_rule_changed(framework, version, kernel, hidden, experts, picks, limited):
    part = Experts(
        np.asarray([64.0]), hidden, 2048.0, np.asarray([picks]), np.asarray([experts]), 1.0, 1.0, 1.0, "fp8", "fp8"
    )
    cls = {"framework": framework, "version": version, "kernel_source": kernel}
    even, skewed = (moe.load_of_rows(cls, part, exponent) for exponent in (None, 1.2))
    usual = [expert_load.load(part.tokens, part.picks, part.experts, part.ep, exponent) for exponent in (None, 1.2)]
    assert (float(even.distinct[0]) < float(usual[0].distinct[0])) == limited
    if version != "0.5.10":
        # Skewed picks on a rank with all experts are all there, limited or not, but lie otherwise.
        assert float(skewed.rows[0]) == pytest.approx(float(usual[1].rows[0]))
        moved = not np.array_equal(skewed.distinct, usual[1].distinct)
        assert moved == (limited and "min_latency" not in kernel)


@pytest.mark.parametrize(
    ("framework", "version", "times"), [("sglang", "0.5.10", 1.5), ("vllm", "0.14.0", 1.5), ("vllm", "0.24.0", 1.0)]
)
def test_earlier_benchmarks_gave_all_experts_a_gate(framework, version, times):
    rows = {
        "num_tokens": 4096.0, "hidden_size": 2688.0, "inter_size": 1856.0, "topk": 6.0, "num_experts": 128.0,
        "moe_tp_size": 1.0, "moe_ep_size": 1.0,
    }  # fmt: skip
    cls = {"framework": framework, "version": version, "moe_dtype": "bfloat16", "distribution": "balanced"}
    view = moe.view_row(cls, {n: np.asarray([v]) for n, v in rows.items()}, load_machine("a100-sxm-80gb"))
    assert float(view.terms["matmul"][0]) == pytest.approx(
        times * 4.0 * 4096 * 6 * 2688 * 1856 / load_machine("a100-sxm-80gb").engine.units / (1.41e9 * 2048), rel=2e-3
    )


def test_a_token_on_the_rank_brings_all_its_picks():
    for ep, times in ((1.0, 1.0), (4.0, 4.0), (8.0, 8.0), (64.0, 8.0)):
        part = Experts(np.asarray([4096.0]), 4096.0, 1536.0, 8.0, 128.0, 1.0, ep, 1.0, "int4", "bf16")
        usual = expert_load.load(part.tokens, part.picks, part.experts, part.ep, None)
        found = moe.every_pick(part, usual, None)
        assert found.rows == pytest.approx(usual.rows * times)
        assert all(np.all(count * height >= found.rows) for height, count in found.tiles.items())


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is absent")
def test_where_no_kernel_is_named_the_usual_one_ran():
    table = read_table(DATA / "kernels" / "moe.parquet")
    names = ("system", "framework", "moe_dtype", "kernel_source")
    seen = set(zip(*(table.columns[n].tolist() for n in names), strict=True))
    for system, framework, number_format, kernel in seen:
        usual = (
            usual_code(framework, number_format, load_machine(system, table=True)) if number_format in FORMATS else ""
        )
        assert (usual == MARLIN) == (implementation(kernel) == MARLIN), (system, framework, number_format)
