"""What kernels of experts decide: tiles, rates, whose picks they take."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.costs.calibration.naming import implementation
from speedlight.costs.calibration.predict import forecast
from speedlight.costs.calibration.samples import TABLES, assemble
from speedlight.costs.calibration.store import shipped
from speedlight.costs.families import expert_load, moe
from speedlight.costs.families.expert_kernels import (
    BY_RANK,
    CUTLASS,
    FEW,
    FIRST,
    GEN,
    LOOKED_AT,
    MANY,
    MARLIN,
    PLAIN,
    TRITON,
    TUNED,
    UNTUNED,
    Code,
    code_of,
    passes,
    reachable,
    ruled,
    tile,
    unaligned,
    usual_code,
    without_gate,
)
from speedlight.costs.families.expert_mlp import DRAINED, FILL, FORMATS, SIDE, Experts, turns, view
from speedlight.costs.families.in_models import memory_latency
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
    assert tile(mean, ep, Code(MARLIN))[1] == rows


def test_other_tiles_are_the_power_of_two_above_an_experts_mean_rows():
    for mean, step, rows in ((0.1, 0, 8), (8.0, 3, 8), (9.0, 4, 16), (66.0, 7, 128), (1000.0, 10, 128)):
        assert tile(mean, 8.0, Code("triton")) == (step, rows)


@pytest.mark.parametrize("code", [MARLIN, ""])
def test_tiles_of_an_array_are_those_of_its_values(code):
    means = np.asarray([0.5, 7.9, 33.0, 57.0, 4096.0])
    steps, rows = tile(means, 2.0, Code(code))
    for i, mean in enumerate(means.tolist()):
        assert tile(mean, 2.0, Code(code)) == (steps[i], rows[i])


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
        ("", "sglang", "bfloat16", "b200", GEN),
        ("", "vllm", "bfloat16", "h100-sxm-80gb", "triton"),
        ("", "vllm", "bfloat16", "b200", GEN),
    ],
)
def test_whose_tiles_go_by_tritons_rule(kernel, framework, number_format, machine, code):
    assert code_of(kernel, framework, number_format, load_machine(machine)).name == code


def test_marlin_has_an_ampere_units_rate_and_never_more_than_the_peak():
    b200, a100, rtx = (load_machine(name).engine for name in ("b200", "a100-sxm-80gb", "rtx-pro-6000-server"))
    assert reachable(2.25e15, b200, Code(MARLIN)) == pytest.approx(148 * 1.965e9 * 2048)
    assert reachable(2.25e15, b200, Code(GEN)) == 2.25e15
    assert reachable(312e12, a100, Code(MARLIN)) == pytest.approx(312e12, rel=1e-3)
    assert reachable(503.8e12, rtx, Code(MARLIN)) == 503.8e12


@pytest.mark.parametrize(
    ("kernel", "framework", "number_format", "machine", "locked"),
    [
        ("sglang_marlin_moe", "sglang", "int4_wo", "a100-sxm-80gb", True),
        ("sglang_marlin_moe", "sglang", "int4_wo", "h100-sxm-80gb", False),
        ("sglang_marlin_moe", "sglang", "int4_wo", "rtx-pro-6000-server", False),
        ("sglang_marlin_moe", "sglang", "w4a16_mxfp4", "rtx-pro-6000-server", True),
        ("vllm_x_marlin_y", "vllm", "w4a16_mxfp4", "rtx-pro-6000-server", False),
        ("", "vllm", "int4_wo", "a100-sxm-80gb", True),
        ("", "vllm", "int4_wo", "l40s", False),
        ("", "vllm", "int4_wo", "h100-sxm-80gb", False),
        ("vllm_fused_moe", "vllm", "bfloat16", "a100-sxm-80gb", False),
    ],
)
def test_marlin_adds_parts_under_a_lock_where_bfloat16_has_no_atomics(
    kernel, framework, number_format, machine, locked
):
    assert code_of(kernel, framework, number_format, load_machine(machine)).locked == locked


@given(st.floats(1, 1e4), st.floats(16, 2e4), st.floats(1, 256), st.floats(1.0, 8.0))
def test_units_share_a_tile_only_where_there_are_fewer_tiles_than_units(tiles, depth, units, more):
    tiles, units = float(round(tiles)), float(round(units))
    found = turns(tiles, depth, units)
    assert 0.0 <= found <= units
    assert found <= max(units / tiles, 1.0)
    assert tiles < units or found == 0.0
    assert turns(tiles * round(more), depth, units) <= found + 1e-9


def test_fewer_columns_take_more_turns():
    """7168 x 256, 512, 1024 and 2048 of one expert on an A100: 448 steps on 108 units make five a unit of 112 a tile."""
    found = [float(turns(columns, 7168.0, 108.0)) for columns in (4.0, 8.0, 16.0, 32.0)]
    assert found == pytest.approx([112 / 5 - 1, 112 / 9 - 1, 112 / 17 - 1, 112 / 34 - 1])


@pytest.mark.parametrize(
    ("code", "weights", "own", "every", "zeros"),
    [
        (MARLIN, "int4_g32", (0.0, 1.0), [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]),
        (TRITON, "bf16", (0.0, 1.0), [1.0, 1.0, 1.0], [0.0, 0.5, 0.875]),
        (PLAIN, "bf16", (0.0, 1.0), [1.0, 1.0, 1.0], [0.0, 0.5, 0.875]),
        (GEN, "nvfp4", (0.0, 0.0), [0.0, LOOKED_AT / 2, LOOKED_AT * 7 / 8], [0.0, 0.0, 0.0]),
        (TUNED, "mxfp4", (0.0, 0.0), [0.0, LOOKED_AT / 2, LOOKED_AT * 7 / 8], [0.0, 0.0, 0.0]),
        (GEN, "fp8_block", (0.0, 1.0), [0.0, LOOKED_AT / 2, LOOKED_AT * 7 / 8], [0.0, 0.0, 0.0]),
        (UNTUNED, "fp8", (1.0, 1.0), [0.0, LOOKED_AT / 2, LOOKED_AT * 7 / 8], [0.0, 0.0, 0.0]),
        ("", "bf16", (1.0, 1.0), [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
    ],
)
def test_which_passes_codes_make_over_own_and_other_ranks_picks(code, weights, own, every, zeros):
    gathered, apart, looked_at, written = passes(Code(code), weights, np.asarray([1.0, 2.0, 8.0]))
    assert (gathered, apart) == own
    assert np.broadcast_to(looked_at, 3) == pytest.approx(every)
    assert np.broadcast_to(written, 3).tolist() == zeros


def experts_under(code, tokens, ep=1.0, width=2048.0, weights="mxfp4", activations="mxfp8"):
    """Terms of 256 experts of 4096 × a width on a GB200, six picks a token."""
    machine = load_machine("gb200-186gb")
    ones = np.ones(len(tokens))
    part = Experts(np.asarray(tokens), 4096.0, width, 6.0 * ones, 256.0 * ones, 1.0, ep * ones, 1.0 * ones, weights, activations)  # fmt: skip
    load = expert_load.load(part.tokens, part.picks, part.experts, part.ep, None)
    return view(part, load, 1.0, machine, code).terms


def test_rows_without_a_token_cost_where_tiles_are_loaded_by_index():
    """128 experts a rank in one tile of 256 rows each: 72 tokens an expert leave more than half of it empty, 192 a quarter, 256 nothing."""
    tuned = Code(TUNED, by_rank=BY_RANK[TUNED])
    some, most, full = experts_under(tuned, [3072.0, 8192.0, 256 * 256 / 6.0], ep=2.0)["empty"]
    assert some / most == pytest.approx((1.0 - 72.0 / 256.0) / 0.25, rel=0.02)
    assert full < 0.1 * most
    assert np.all(experts_under(Code(CUTLASS), [3072.0])["empty"] == 0.0)


def test_marlin_ends_a_tile_before_it_loads_for_the_next():
    """Per FLOP what a tile's end costs grows as the second product's depth falls; others' ends are hidden."""
    wide_one, narrow = (experts_under(Code(MARLIN), [4096.0], width=width)["drain"][0] for width in (2048.0, 64.0))
    assert narrow / 64.0 > 10.0 * wide_one / 2048.0
    other = experts_under(Code(CUTLASS), [4096.0], width=64.0)
    assert other["drain"][0] == 0.0
    # A round starts with twice the wait: blocks are 64 rows high here.
    machine = load_machine("gb200-186gb")
    own = experts_under(Code(MARLIN), [4096.0], width=64.0)
    written = 64.0 * SIDE / (machine.engine.clock_hz * DRAINED)
    assert own["fill"][0] / own["drain"][0] == pytest.approx(2.0 * FILL * memory_latency(machine) / written)


@pytest.fixture(scope="module")
def latencies():
    """Measured seconds of the table's rows that have some values."""
    columns = {n: np.asarray(c) for n, c in read_table(DATA / "kernels" / "moe.parquet").columns.items()}

    def of(**at):
        rows = np.logical_and.reduce([columns[name] == value for name, value in at.items()])
        assert rows.any(), at
        return columns["latency"][rows]

    return of


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is absent")
def test_what_gathering_by_index_and_many_picks_do_to_rows(latencies):
    def least(**at):
        return float(np.min(latencies(distribution="balanced", **at)))

    # Rows without a token: more tokens take less time in the same tiles.
    tuned = {
        "system": "gb200",
        "framework": "trtllm",
        "moe_dtype": "w4a8_mxfp4_mxfp8",
        "hidden_size": 4096,
        "num_experts": 256,
    }
    took = [least(**tuned, moe_tp_size=1, moe_ep_size=2, num_tokens=n) for n in (3072, 4096, 6144, 8192)]
    assert all(after < before for before, after in pairwise(took))
    assert took[0] > 1.3 * took[-1]
    # Nothing is gathered, no activation apart: a line over the width starts at half a millisecond.
    whole = {
        "system": "b200_sxm",
        "framework": "sglang",
        "moe_dtype": "int4_wo",
        "hidden_size": 7168,
        "num_experts": 384,
    }
    widths = {2048 // tp: least(**whole, moe_tp_size=tp, moe_ep_size=1, num_tokens=16384) for tp in (1, 2, 4, 8)}
    slope, start = np.polyfit(list(widths), list(widths.values()), 1)
    assert start == pytest.approx(0.54e-3, rel=0.2)
    assert all(start + slope * width == pytest.approx(seconds, rel=0.03) for width, seconds in widths.items())
    # Many picks: more launches.
    named = {
        "system": "b200_sxm",
        "kernel_source": "sglang_flashinfer_trtllm_moe",
        "moe_dtype": "bfloat16",
        "num_tokens": 1,
    }
    few, many = (least(**named, hidden_size=2048, topk=k) for k in (8, 22))
    assert many > 1.2 * few


def test_an_earlier_benchmark_gave_few_skewed_picks_to_the_first_experts():
    """One token's eight, of 384 experts on 16 ranks: on rank 0 all in vLLM 0.14, one or two on any in 0.24; and its rows know no groups."""
    part = Experts(np.asarray([1.0]), 7168.0, 2048.0, np.asarray([8.0]), np.asarray([384.0]), 1.0, 16.0, 1.0, "bf16", "bf16")  # fmt: skip
    rows = {
        version: float(moe.rank_of({"framework": "vllm", "version": version}, part, 1.2)[1].rows[0])
        for version in ("0.14.0", "0.24.0")
    }
    assert rows["0.14.0"] == pytest.approx(8.0)
    assert rows["0.24.0"] < 2.0
    grouped = dataclasses.replace(part, experts=np.asarray([256.0]))
    assert not moe.groups_limited({"framework": "vllm", "version": "0.14.0"}, grouped, None).any()
    assert moe.groups_limited({"framework": "vllm", "version": "0.24.0"}, grouped, None).all()


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is absent")
def test_what_locks_zeros_and_first_experts_do_to_rows(latencies):
    """What the terms stand for, in times no bandwidth explains; 7168 x 2048 / 8 of 384."""

    def seconds(**at):
        return float(np.median(latencies(hidden_size=7168, inter_size=2048, num_experts=384, **at)))

    ampere, hopper = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"
    marlin = {"kernel_source": "sglang_marlin_moe", "distribution": "balanced"}
    one = {**marlin, "num_tokens": 1, "moe_ep_size": 16}
    # Locks: an eighth of the weights takes an A100 longer, an H100 shorter.
    assert seconds(device=ampere, moe_tp_size=8, **one) > 1.4 * seconds(device=ampere, moe_tp_size=1, **one)
    assert seconds(device=hopper, moe_tp_size=8, **one) < 0.9 * seconds(device=hopper, moe_tp_size=1, **one)
    # Zeros: products halve from 2 to 4 and to 8 ranks, and say what two ranks and one would take.
    many = {**marlin, "device": hopper, "num_tokens": 16384, "moe_tp_size": 32}
    took = [seconds(moe_ep_size=ep, **many) for ep in (1, 2, 4, 8)]
    halves = 2.0 * (took[1] - took[2])
    assert took[2] - took[3] == pytest.approx(halves / 4.0, rel=0.1)
    assert took[1] + halves - took[0] > 0.7e-3
    # First experts: one token's eight are on rank 0 of any number.
    early = {"kernel_source": "vllm_fused_moe", "device": ampere, "num_tokens": 1, "moe_tp_size": 1}
    alone = seconds(moe_ep_size=1, **early)
    assert all(seconds(moe_ep_size=ep, **early) == pytest.approx(alone, rel=0.03) for ep in (2, 4, 8, 16, 32))


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
    even, skewed = (moe.rank_of(cls, part, exponent)[1] for exponent in (None, 1.2))
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


def test_picks_that_stay_leave_a_rank_alone_with_the_tokens_that_reach_it():
    """A rank of ep takes what a machine with its experts alone takes of the tokens that reach it."""
    machine = load_machine("a100-sxm-80gb")
    cls = {"framework": "sglang", "version": "0.5.10", "moe_dtype": "bfloat16", "distribution": "balanced"}
    sizes = {"hidden_size": 4096.0, "inter_size": 1536.0, "topk": 8.0, "moe_tp_size": 1.0}

    def view(tokens, experts, ep):
        rows = {**sizes, "num_tokens": tokens, "num_experts": experts, "moe_ep_size": ep}
        return moe.view_row(cls, {n: np.asarray([v]) for n, v in rows.items()}, machine)

    for ep, reach in ((1.0, 1.0), (8.0, 1.0), (16.0, 0.5)):
        split, alone = view(4096.0, 128.0, ep), view(4096.0 * reach, 128.0 / ep, 1.0)
        for name in ("matmul", "stream", "every_middle", "tokens", "chain"):
            assert split.terms[name] == pytest.approx(alone.terms[name]), (ep, name)
        for name in ("step", "mean", "ep", "e"):
            assert split.coords[name] == pytest.approx(alone.coords[name]), (ep, name)


@pytest.mark.parametrize(
    ("framework", "version", "hidden", "inter", "stay"),
    [
        ("sglang", "0.5.10", 4096.0, 1536.0, True),
        ("sglang", "0.5.14", 2816.0, 704.0, True),
        ("sglang", "0.5.14", 4096.0, 1536.0, False),
        ("vllm", "0.24.0", 2816.0, 704.0, False),
    ],
)
def test_whose_picks_stay_on_the_rank(framework, version, hidden, inter, stay):
    part = Experts(np.asarray([64.0]), hidden, inter / 2.0, 8.0, 128.0, 2.0, 4.0, 1.0, "bf16", "bf16")
    assert bool(moe.picks_stay({"framework": framework, "version": version}, part)[0]) == stay


@pytest.mark.parametrize(
    ("exponent", "tokens", "shares"),
    [(1.2, 16384.0, (1.0, 0.98, 0.97, 0.99)), (1.01, 4096.0, (0.99, 0.96, 0.65, 0.51))],
)
def test_tokens_that_reach_a_rank_are_those_its_times_imply(exponent, tokens, shares):
    """Times over those of all picks, 2816 × 704 / 8 of 128, six devices: 1.01, 0.99, 0.91-0.97, 0.94-0.98 and 1.0-1.07, 0.95-1.02, 0.57-0.61, 0.45-0.48."""
    ep = np.asarray([2.0, 4.0, 32.0, 128.0])
    found = expert_load.reached(tokens, 8.0, 128.0, ep, exponent) / tokens
    assert found == pytest.approx(np.asarray(shares), abs=0.02)
    rows = expert_load.load(np.full(4, tokens), 8.0, 128.0, ep, exponent).rows
    assert np.all(found * tokens <= rows * (1.0 + 1e-9))
    assert np.all(rows <= found * tokens * 8.0 * (1.0 + 1e-9))


def test_a_rank_of_one_expert_is_reached_by_its_rows():
    for tokens in (64.0, 4096.0):
        rows = expert_load.load(np.asarray([tokens]), 8.0, 128.0, 128.0, 1.01).rows
        assert expert_load.reached(tokens, 8.0, 128.0, np.asarray([128.0]), 1.01) == pytest.approx(rows)
    assert expert_load.reached(64.0, 8.0, 128.0, 16.0, None) == 32.0
    assert expert_load.reached(64.0, 8.0, 128.0, 4.0, None) == 64.0


@pytest.mark.parametrize(
    ("kernel", "framework", "number_format", "machine", "code"),
    [
        ("sglang_flashinfer_cutlass_moe", "sglang", "bfloat16", "h100-sxm-80gb", UNTUNED),
        ("vllm_modeloptfp8moe_flashinfer_cutlass_flashinferexperts", "vllm", "fp8", "h200-sxm-141gb", UNTUNED),
        ("vllm_fp8moe_flashinfer_cutlass_flashinferexperts", "vllm", "fp8_block", "h100-sxm-80gb", CUTLASS),
        ("vllm_unquantizedfusedmoe_flashinfer_cutlass_flashinferexperts", "vllm", "bfloat16", "b200", CUTLASS),
        ("moe_torch_flow_cutlass", "trtllm", "bfloat16", "h100-sxm-80gb", CUTLASS),
        ("", "vllm", "fp8", "h100-sxm-80gb", UNTUNED),
        ("", "vllm", "fp8", "b200", GEN),
        ("", "trtllm", "fp8", "h100-sxm-80gb", ""),
    ],
)
def test_whose_tiles_are_the_first_of_the_list(kernel, framework, number_format, machine, code):
    assert code_of(kernel, framework, number_format, load_machine(machine)).name == code


def test_the_first_tile_is_the_same_for_any_rows():
    steps, rows = tile(np.asarray([0.1, 9.0, 5000.0]), 4.0, Code(UNTUNED))
    assert np.all(steps == FIRST)
    assert np.all(rows == 128.0)


@pytest.mark.parametrize(
    ("code", "machine", "other"),
    [
        (PLAIN, "h100-sxm-80gb", UNTUNED),
        (PLAIN, "rtx-pro-6000-server", CUTLASS),
        (PLAIN, "a100-sxm-80gb", PLAIN),
        (MARLIN, "h100-sxm-80gb", MARLIN),
    ],
)
def test_experts_without_a_gate_have_another_kernel(code, machine, other):
    assert without_gate(Code(code), load_machine(machine)).name == other


def test_blank_and_named_kernels_of_experts_without_a_gate_are_seen_alike():
    """SGLang on an H100: Triton runs experts with a gate, FlashInfer's CUTLASS kernels those without, whatever their width (232 on eight)."""
    machine = load_machine("h100-sxm-80gb")
    for hidden, inter, kernel in (
        (2688.0, 1856.0, "sglang_flashinfer_cutlass_moe"),
        (4096.0, 1536.0, "sglang_fused_moe_triton"),
    ):
        rows = {
            "num_tokens": np.asarray([4.0, 512.0]), "hidden_size": hidden, "inter_size": inter, "topk": 6.0, "num_experts": 128.0,
            "moe_tp_size": np.asarray([1.0, 8.0]), "moe_ep_size": 1.0,
        }  # fmt: skip
        wide = {n: np.broadcast_to(np.asarray(v), 2) for n, v in rows.items()}
        cls = {"framework": "sglang", "version": "0.5.14", "moe_dtype": "bfloat16", "distribution": "balanced"}
        named, blank = (moe.view_row({**cls, "kernel_source": k}, wide, machine) for k in (kernel, ""))
        for name, seconds in named.terms.items():
            assert blank.terms[name] == pytest.approx(seconds), name
        assert np.array_equal(named.coords["step"], blank.coords["step"])


@pytest.mark.parametrize(
    ("width", "code", "loose"),
    [
        (232.0, "triton", 1.0),
        (24.0, PLAIN, 1.0),
        (96.0, "triton", 0.0),
        (176.0, PLAIN, 0.0),
        (232.0, CUTLASS, 0.0),
        (232.0, "", 0.0),
    ],
)
def test_triton_loads_widths_one_by_one_that_are_no_multiples_of_16(width, code, loose):
    assert float(unaligned(width, Code(code))) == loose
    assert np.array_equal(unaligned(np.asarray([width, 256.0]), Code(code)), [loose, 0.0])


def test_half_the_width_takes_longer_where_it_is_no_multiple():
    """Nemotron's experts on an H100 in vLLM, 16,384 tokens: 1.9 ms with a width of 464, 3.6 with 232, 2.5 with 116."""
    machine = load_machine("h100-sxm-80gb")
    cls = {
        "framework": "vllm", "version": "0.24.0", "moe_dtype": "bfloat16", "distribution": "power_law_1.01",
        "kernel_source": "vllm_unquantizedfusedmoe_triton_tritonexperts",
    }  # fmt: skip
    tp = np.asarray([4.0, 8.0, 16.0])
    rows = {
        "num_tokens": 16384.0, "hidden_size": 2688.0, "inter_size": 1856.0, "topk": 6.0, "num_experts": 128.0,
        "moe_tp_size": tp, "moe_ep_size": 1.0,
    }  # fmt: skip
    whole = {n: np.broadcast_to(np.asarray(v), 3) for n, v in rows.items()}
    samples = assemble(TABLES.get("moe"), TABLES.get("moe").targets[0], {
        **whole, **{n: np.full(3, v) for n, v in cls.items()},
        "system": np.full(3, "h100_sxm"),
    }, 3)  # fmt: skip
    seconds = forecast(moe.FAMILY, samples, shipped("moe")).seconds
    assert seconds == pytest.approx([1.914e-3, 3.597e-3, 2.481e-3], rel=0.2)
    assert seconds[1] > 1.3 * max(seconds[0], seconds[2])
    view = moe.view_row(cls, whole, machine)
    assert view.terms["scattered"][0] == 0.0
    assert np.all(view.terms["scattered"][1:] > 0.0)


def wide(tokens, reached, ep, slots, exponent, balancer):
    ones = np.ones(1)
    part = Experts(reached * ones, 7168.0, 2048.0, 8.0, slots * ones, 1.0, ep * ones, 1.0, "fp8", "fp8")
    return moe.rank_load(tokens * ones, reached * ones, part, 256.0 * ones, exponent, balancer)


@pytest.mark.parametrize(
    ("tokens", "ep", "slots", "distinct"),
    [
        (1.0, 2.0, 256.0, 4.0),
        (1.0, 2.0, 288.0, 8.0),
        (1.0, 16.0, 256.0, 1.0),
        (1.0, 16.0, 288.0, 3.0),
        (4.0, 2.0, 288.0, 32.0),
    ],
)
def test_copies_of_experts_bring_few_picks_to_the_first_rank(tokens, ep, slots, distinct):
    """Memory-bound times of 7168 × 2048 on an H100: 125, 196, 56 and 88 us for one token, 16 to 18 an expert over some 40."""
    assert float(wide(tokens, tokens, ep, slots, 1.01, True).distinct[0]) == distinct


def test_without_a_balancer_few_picks_are_the_first_ranks():
    for tokens, ep, distinct in ((1.0, 16.0, 8.0), (2.0, 16.0, 16.0), (1.0, 2.0, 8.0)):
        found = wide(tokens, tokens, ep, 256.0, 1.01, False)
        assert float(found.distinct[0]) == distinct
        assert float(found.rows[0]) == tokens * 8.0


def test_a_rank_of_one_slot_multiplies_a_row_of_every_token_that_reaches_it():
    for balancer in (False, True):
        assert float(wide(4096.0, 1500.0, 256.0, 256.0, 1.2, balancer).rows[0]) == pytest.approx(1500.0, rel=1e-6)


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is absent")
def test_where_no_kernel_is_named_the_usual_one_ran():
    table = read_table(DATA / "kernels" / "moe.parquet")
    names = ("system", "framework", "moe_dtype", "kernel_source")
    seen = set(zip(*(table.columns[n].tolist() for n in names), strict=True))
    for system, framework, number_format, kernel in seen:
        if number_format in FORMATS:
            usual = usual_code(framework, number_format, load_machine(system, table=True)).name
            assert (usual == MARLIN) == (implementation(kernel) == MARLIN), (system, framework, number_format)
