"""The suite of serving deployments: how rows are read, statuses, intervals, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speedlight.placement.serving import Layout
from speedlight.validation.deployments.rows import checkpoint, deployment, read_layout
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


@pytest.mark.data
@pytest.mark.slow
def test_errors_stay_within_their_bars(data_dir: Path) -> None:
    outcome = validate(str(data_dir / "serving" / "deployments.parquet"), cv="group")
    assert outcome["coverage"] >= 0.99
    assert not outcome["below_limit"]
    assert outcome["groups"]["mode"]["agg"]["measured_tpot"]["median_ape"] < 0.08
