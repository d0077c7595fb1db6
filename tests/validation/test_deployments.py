"""The suite of serving deployments: how rows are read, statuses, intervals, what is left out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.engine.serving.serving_fit import LEVELS
from speedlight.placement.serving import Layout
from speedlight.validation.deployments import fitting
from speedlight.validation.deployments.answers import labels
from speedlight.validation.deployments.columns import COLUMNS, HOST
from speedlight.validation.deployments.features import features, grids
from speedlight.validation.deployments.model import design, latencies
from speedlight.validation.deployments.rows import checkpoint, deployment, read_layout
from speedlight.validation.deployments.split import slots
from speedlight.validation.suites import deployments
from speedlight.validation.validate import validate

ROW = {
    "backend": "vllm", "model_path": "meta-llama/Llama-3.1-70B", "system": "h100_sxm", "precision": "fp8", "mode": "agg",
    "isl": 1024, "osl": 128, "gemm_quant_mode": "fp8", "batch_size": 8.0, "tp_size": 4.0, "attention_dp_size": 1.0,
    "moe_tp_size": 4.0, "moe_ep_size": 1.0, "concurrency": 8.0, "silicon_data_source": "db-dump/x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("recorded", "layout"),
    [
        ((8, 1, 8, 1), Layout(8, 1, 8, 1)),
        ((64, 1, 8, 8), Layout(8, 1, 1, 8)),  # tp × ep recorded as tp
        ((1, 64, 8, 8), Layout(1, 8, 1, 8)),
        ((4, 4, 1, 16), Layout(1, 4, 1, 4)),  # the attention-parallel degree recorded twice
        ((1, 8, 8, 1), Layout(1, 8, 8, 1)),
        ((8, 1, 1, 1), Layout(8, 1, 8, 1)),  # a dense model
        ((1, 32, 32, 1), Layout(1, 32, 1, 32)),  # no expert is cut into 32 parts
    ],
)
def test_degrees_are_read_as_they_fill_a_worker(recorded: tuple[int, ...], layout: Layout) -> None:
    assert read_layout(*recorded)[0] == layout


def test_precisions_name_checkpoints() -> None:
    assert checkpoint("deepseek-ai/DeepSeek-R1", "fp8", "fp8").source == "deepseek-r1"
    assert checkpoint("deepseek-ai/DeepSeek-V3", "fp4", "nvfp4").source == "deepseek-v3.1-nvfp4"
    assert checkpoint("openai/gpt-oss-120b", "fp4", "nvfp4").source == "gpt-oss-120b"
    assert checkpoint("Qwen/Qwen3-32B", "", "").source == "qwen3-32b"
    assert checkpoint("Qwen/Qwen3-32B", "fp8", "fp8").source == "qwen3-32b-fp8-static-pertensor"
    assert checkpoint("meta-llama/Llama-3.1-70B", "fp4", "nvfp4").weights == "nvfp4"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "ok"),
        ({"attention_dp_size": None}, "inferred:attention_dp"),
        ({"concurrency": 32.0}, "inferred:replicas"),
        ({"isl": 0}, "invalid:isl"),
        ({"osl": float("nan")}, "invalid:osl"),
        ({"backend": "abacus"}, "unsupported:backend abacus"),
        ({"system": "abacus"}, "unknown-device"),
        ({"model_path": "nobody/knows"}, "unknown-model"),
        ({"mode": "both"}, "invalid:mode"),
    ],
)
def test_statuses(change: dict, status: str) -> None:
    assert deployment({**ROW, **change}).status == status


def test_mxfp4_experts_meet_mxfp8_where_units_multiply_blocks() -> None:
    row = {**ROW, "model_path": "openai/gpt-oss-120b", "precision": "fp4"}
    assert deployment({**row, "system": "b200_sxm"}).model.activations == "mxfp8"
    assert deployment({**row, "system": "h100_sxm"}).model.activations is None


SPLIT = {
    **ROW, "mode": "disagg", "batch_size": None, "concurrency": 64.0, "isl": 2048,
    **{f"{stage}_{name}": 1.0 for stage in ("prefill", "decode") for name in ("attention_dp_size", "moe_ep_size")},
    **{f"{stage}_{name}": 4.0 for stage in ("prefill", "decode") for name in ("tp_size", "moe_tp_size")},
}  # fmt: skip


def test_more_workers_are_never_slower() -> None:
    counts = [(1, 1), (2, 1), (4, 1), (4, 2), (4, 4)]
    rows = [{**SPLIT, "prefill_num_workers": float(p), "decode_num_workers": float(d)} for p, d in counts]
    seconds = features([deployment(row) for row in rows]).weights[..., : -len(HOST)].sum(-1)
    ttft, tpot = seconds[:, 0], seconds[:, 1, 0]
    assert np.all(ttft[:, 0] >= ttft[:, 1] * (1 - 1e-9))  # all prompts at once in every round, or in the first
    assert np.all(np.diff(ttft[:3, 0]) < 0)
    assert np.all(np.diff(tpot[2:]) < 0)


@pytest.mark.parametrize(
    ("clients", "held"),
    [(1.0, math.inf), (8.0, math.inf), (9.0, 8.0), (10.0, 8.0), (141.0, 128.0), (12.0, math.inf), (0.3, math.inf), (15.0, math.inf)],
)  # fmt: skip
def test_workers_loaded_a_little_beyond_a_power_of_two_hold_that(clients: float, held: float) -> None:
    assert slots(clients) == held


def test_clients_beyond_the_slots_wait_for_one() -> None:
    """27 clients of 3 × 8 slots: about an eighth of a decode time more to the first token than with vLLM, which has room for all."""
    counts = {"prefill_num_workers": 1.0, "decode_num_workers": 3.0, "isl": 1024, "osl": 1024}
    sized = [deployment({**SPLIT, **counts, "backend": "trtllm", "concurrency": c}) for c in (24.0, 27.0)]
    found = features(sized).weights[..., : -len(HOST)].sum(-1)
    first, each = found[:, 0, 0], found[:, 1, 0]
    decode = 1023 * each[1]
    assert each[1] == pytest.approx(each[0], rel=0.01)  # as many decode at once
    assert 0.8 * decode / 8 < first[1] - first[0] < 1.2 * decode / 8
    assert 27 <= 24 * (first[1] + decode) / decode <= 28.5  # Little's law: those decoding, those waiting, and a prompt
    unknown = [
        deployment({**SPLIT, "isl": 1024, "osl": 1024, "backend": "trtllm", "concurrency": c}) for c in (32.0, 36.0)
    ]
    waits = features(unknown, (1, 1, 0)).weights[:, 0, 1, : -len(HOST)].sum(-1)
    assert waits[1] < 1.3 * waits[0]  # nothing is read from workers nobody counted


def test_drafting_shortens_a_small_batch_of_models_with_heads() -> None:
    row = {**SPLIT, "concurrency": 2.0}
    for model, shorter in (("deepseek-ai/DeepSeek-R1", True), ("meta-llama/Llama-3.1-70B", False)):
        asked = [deployment({**row, "model_path": model, "system": "b200_sxm"})]
        known = grids(asked)
        plain, drafted = (features(asked, (1, 1, k), known).weights[0, 1, 0].sum() for k in (0, 1))
        assert (drafted < 0.8 * plain) if shorter else (drafted == plain)


def test_slopes_are_those_of_the_latencies() -> None:
    asked = [deployment({**ROW, "concurrency": float(c), "batch_size": float(c)}) for c in (1, 32)]
    found = features(asked)
    made = design([labels(q) for q in asked])
    theta = 0.1 * np.random.default_rng(0).standard_normal(len(made.names))
    slopes = latencies(made, theta, found.weights, derivatives=True).by_column
    assert slopes is not None
    for k, column in enumerate(LEVELS):
        ends = []
        for step in (-1e-5, 1e-5):
            moved = theta.copy()
            moved[made.places[column][0, 0]] += step  # a value's slope is its column's
            at = latencies(made, moved, found.weights)
            ends.append(np.log(np.stack([at.ttft, at.tpot], 1)[0]))
        measured = (ends[1] - ends[0]) / 2e-5
        assert measured == pytest.approx([slopes[0][0, k], slopes[1][0, k]], abs=1e-7)


def test_gaps_and_routing_are_nothing_before_fitting() -> None:
    asked = [deployment(ROW)]
    found = features(asked)
    made = design([labels(q) for q in asked])
    without = found.weights.copy()
    without[..., [COLUMNS.index("gaps"), COLUMNS.index("routing")]] = 0.0
    none = np.zeros(len(made.names))
    assert latencies(made, none, found.weights).tpot == pytest.approx(latencies(made, none, without).tpot)


def table(folder: Path, rows: list[dict]) -> Path:
    pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
    import pyarrow.parquet as pq

    path = folder / "deployments.parquet"
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in rows[0]}), path)
    return path


def test_every_row_has_an_answer_within_its_limits(tmp_path: Path) -> None:
    rows = [
        {**ROW, "concurrency": float(c), "batch_size": float(c), "measured_ttft": 0.1, "measured_tpot": 0.01}
        for c in (1, 8, 32)
    ]
    rows.append({**rows[0], "model_path": "nobody/knows"})
    outcome = validate(str(table(tmp_path, rows)))
    assert outcome["coverage"] == pytest.approx(0.75)
    said = deployments.predict({n: np.array([r[n] for r in rows], dtype=object) for n in ROW}, len(rows))
    for column in deployments.COLUMNS:
        o = said.outcomes[column]
        assert np.all((o.limit <= o.low) & (o.low <= o.predicted) & (o.predicted <= o.high), where=np.arange(4) < 3)
        assert np.isnan(o.predicted[3])
    tpot = said.outcomes["measured_tpot"].predicted
    assert tpot[0] < tpot[1] < tpot[2]  # more clients, longer steps


def test_sorts_of_rows_are_judged_apart(tmp_path: Path) -> None:
    counted = {"prefill_num_workers": 2.0, "decode_num_workers": 1.0}
    rows = [
        {**ROW, "measured_ttft": 0.1, "measured_tpot": 0.01},
        *({**SPLIT, "measured_ttft": 0.3, "measured_tpot": 0.01, **w} for w in (counted, {})),
    ]
    rows = [{**dict.fromkeys([*SPLIT, *counted]), **row} for row in rows]
    outcome = validate(str(table(tmp_path, rows)))
    assert {name: part["rows"] for name, part in outcome["parts"].items()} == dict.fromkeys(
        deployments.PARTS.values(), 1
    )
    for name, part in outcome["parts"].items():
        one = part["metrics"]["measured_ttft"]
        assert one["n"] == 1
        assert outcome["groups"]["rows"][name]["measured_ttft"]["median_ape"] == one["median_ape"]
        assert part["averages"]["measured_ttft"]["median_ape"] == pytest.approx(one["median_ape"])


def test_the_fit_that_ships_says_its_errors_left_out_by_sort_of_row() -> None:
    told = deployments.shipped_bends().header["cross_validation"]
    for column in deployments.COLUMNS:
        found = {(e["leave"], e["part"]) for e in told[column]}
        assert found == {(by, part) for by in ("group", "device") for part in deployments.PARTS.values()}


@given(
    over=st.lists(st.floats(0.02, 50.0), min_size=fitting.FEWEST, max_size=60),
    shift=st.floats(-1.0, 1.0),
)
def test_a_centre_is_where_the_mean_relative_error_is_least(over: list[float], shift: float) -> None:
    measured = np.stack([np.array(over)] * 2, 1)
    said = SimpleNamespace(kinds=np.array(["agg"] * len(over), dtype=object))
    one = np.ones_like(measured)
    found = fitting.centres(said, measured, one, one[:, 0] > 0)
    assert set(found) == {"agg/ttft", "agg/tpot"}

    def error(factor: float) -> float:
        return float(np.abs(factor / measured[:, 0] - 1).mean())

    best = error(math.exp(found["agg/ttft"]))
    assert best <= error(math.exp(found["agg/ttft"] + shift)) + 1e-2  # it is rounded to four places
    assert best <= error(float(np.median(measured[:, 0]))) + 1e-2


def test_a_centre_moves_an_answer_and_not_its_interval() -> None:
    inputs = {c: np.array([v], dtype=object) for c, v in {**dict.fromkeys(COLUMNS), **ROW}.items()}
    bends = deployments.shipped_bends()
    moved = replace(bends, centres={"agg/ttft": -0.1, "agg/tpot": 0.0})
    with mock.patch.object(deployments, "shipped_bends", return_value=replace(bends, centres={})):
        plain = deployments.predict(inputs, 1).outcomes["measured_ttft"]
    with mock.patch.object(deployments, "shipped_bends", return_value=moved):
        found = deployments.predict(inputs, 1).outcomes["measured_ttft"]
    assert found.predicted == pytest.approx(plain.predicted * math.exp(-0.1))
    assert found.high == plain.high
    assert found.low == plain.low


@pytest.mark.data
@pytest.mark.slow
def test_errors_stay_within_their_bars(data_dir: Path) -> None:
    outcome = validate(str(data_dir / "serving" / "deployments.parquet"), cv="group")
    assert outcome["coverage"] >= 0.99
    assert not outcome["below_limit"]
    assert outcome["groups"]["mode"]["agg"]["measured_tpot"]["median_ape"] < 0.08
