"""``validate``: the contract on small tables of our own making, and the limit against the measured gemm table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from speedlight.cli.main import main
from speedlight.validation.validate import validate

pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
import pyarrow.parquet as pq  # noqa: E402

ROWS = {
    "device": ["NVIDIA H200", "NVIDIA H200", "nobody's card", "NVIDIA H200", "NVIDIA H200", "NVIDIA H200"],
    "gemm_dtype": ["bfloat16", "fp8", "bfloat16", "int1", "bfloat16", "bfloat16"],
    "m": [1.0, 4096.0, 8.0, 8.0, -3.0, float("nan")],
    "n": [4096.0] * 6,
    "k": [4096.0] * 6,
    "latency": [1e-5, 2e-4, 1e-5, 1e-5, 1e-5, 1e-5],
}


def table(folder: Path, name: str = "gemm.parquet", **changes: object) -> Path:
    columns = {k: v for k, v in {**ROWS, **changes}.items() if v is not None}
    path = folder / name
    pq.write_table(pa.table(columns), path)
    return path


def test_every_row_comes_back_with_a_status(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    result = validate(table(tmp_path), predictions=out)
    assert result["rows"] == 6
    assert result["predicted"] == 2
    assert result["coverage"] == pytest.approx(2 / 6)
    written = pq.read_table(out)
    assert written.column_names == [
        *ROWS,
        "predicted_latency",
        "limit_latency",
        "low_latency",
        "high_latency",
        "layer",
        "status",
    ]
    data = written.to_pydict()
    assert data["status"] == ["ok", "ok", "unknown-device", "unsupported:gemm_dtype int1", "invalid:m", "invalid:m"]
    assert data["predicted_latency"][2:] == [None] * 4
    for low, p, high, limit in zip(
        *(data[f"{n}_latency"][:2] for n in ("low", "predicted", "high", "limit")), strict=True
    ):
        assert limit <= low <= p <= high
    assert data["device"] == ROWS["device"]


def test_measured_columns_never_reach_the_predictor(tmp_path: Path) -> None:
    one, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    validate(table(tmp_path), predictions=one)
    validate(table(tmp_path, latency=None), predictions=other)
    assert pq.read_table(one)["predicted_latency"].equals(pq.read_table(other)["predicted_latency"])
    empty = validate(table(tmp_path, latency=[None] * 6))
    assert empty["metrics"]["latency"]["n"] == 0


def test_exit_codes_and_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(table(tmp_path))
    assert main(["validate", path, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["suite"] == "gemm"
    assert main(["validate", path, "--bar", "latency:median_ape=0.0001", "--json", "-"]) == 1
    assert main(["validate", path, "--bar", "latency:median_ape=1e9", "--json", "-"]) == 0
    for bad in ("latency", "latency:nothing=1", "speed:mape=1", "latency:mape=x"):
        assert main(["validate", path, "--bar", bad]) == 2


def test_a_suite_is_found_by_name_or_columns(tmp_path: Path) -> None:
    assert validate(table(tmp_path, "gemm.mine.parquet"))["suite"] == "gemm"
    assert validate(table(tmp_path, "other.parquet"))["suite"] == "gemm"
    path = table(tmp_path, "x.parquet", gemm_dtype=None)
    assert main(["validate", str(path)]) == 2
    assert main(["validate", str(path), "--suite", "gemm"]) == 2  # a required column is missing
    assert main(["validate", str(table(tmp_path)), "--suite", "gem"]) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"not parquet", b"PAR1" + b"\0" * 50 + b"PAR1", b"a,b\n1,2,3\n"],
    ids=["empty", "text", "damaged", "ragged"],
)
def test_damaged_tables_are_refused(content: bytes, tmp_path: Path) -> None:
    for name in ("gemm.parquet", "gemm.csv", "gemm.csv.gz", "gemm.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        assert main(["validate", str(path)]) == 2


def test_csv_works_like_parquet(tmp_path: Path) -> None:
    path = tmp_path / "gemm.csv"
    path.write_text(
        "device,gemm_dtype,m,n,k,latency\nNVIDIA H200,bfloat16,1,4096,4096,1e-5\nNVIDIA H200,bfloat16,x,1,1,1\n"
    )
    result = validate(path)
    assert result["status"] == {"ok": 1, "invalid:m": 1}


def test_no_rows_is_an_answer(tmp_path: Path) -> None:
    empty = {k: pa.array([], type=pa.float64() if k in "mnk" or k == "latency" else pa.string()) for k in ROWS}
    pq.write_table(pa.table(empty), tmp_path / "gemm.parquet")
    result = validate(tmp_path / "gemm.parquet")
    assert result["rows"] == result["predicted"] == 0


@pytest.mark.data
def test_no_measured_product_is_faster_than_its_limit(data_dir: Path) -> None:
    """1.86 million measurements on eight GPUs: the limit is a limit (DESIGN allows 0.1 % before it is a bug)."""
    result = validate(data_dir / "kernels" / "gemm.parquet")
    assert result["coverage"] == 1.0
    assert result["metrics"]["latency"]["below_limit"] <= 0.001 * result["rows"]
    assert result["seconds"] < 60


def test_the_limit_check_can_fail(tmp_path: Path) -> None:
    """A measurement faster than light is counted and named."""
    result = validate(table(tmp_path, latency=[1e-12] * 6))
    assert result["metrics"]["latency"]["below_limit"] == 2
    assert np.isclose(result["below_limit"][0]["measured"], 1e-12)
