"""``validate --all``: every table of a folder, and the page made from the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from speedlight._foundation.errors import BadInput
from speedlight.cli.main import main
from speedlight.report.accuracy import COLUMNS, accuracy_markdown, accuracy_rows
from speedlight.validation.everything import tables_of, validate_all
from speedlight.validation.suites import tables
from tests.folders import ROOT

pytest.importorskip("pyarrow", reason="needs the extra 'data'")
from tests.validation.factory import write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tables, "shipped", lambda family: None)
    (tmp_path / "kernels").mkdir()
    (tmp_path / "mine").mkdir()
    write(tmp_path / "kernels")
    (tmp_path / "mine" / "gemm.late.csv").write_text("device,gemm_dtype,m,n\nNVIDIA H200,fp8,1,1\n")  # no k
    (tmp_path / "mine" / "notes.csv").write_text("a,b\n1,2\n")
    (tmp_path / "README.md").write_text("gemm")
    return tmp_path


def test_every_table_with_a_suite_is_found(folder: Path) -> None:
    assert [p.name for p in tables_of(folder)] == ["gemm.parquet", "gemm.late.csv"]


def test_a_table_that_cannot_be_read_does_not_stop_the_rest(folder: Path) -> None:
    said: list[str] = []
    result = validate_all(folder, said.append)
    assert len(said) == 2
    (answer,) = result["tables"]
    assert (answer["table"], answer["suite"], answer["rows"]) == ("gemm.parquet", "gemm", 6)
    (failure,) = result["failed"]
    assert failure["table"] == "gemm.late.csv"
    assert "'k'" in failure["error"]["message"]
    assert "'k'" in accuracy_markdown(result)


def test_named_suites_alone_are_looked_at_and_each_must_have_a_table(folder: Path) -> None:
    said: list[str] = []
    validate_all(folder, said.append, ["gemm"])
    assert len(said) == 2
    with pytest.raises(BadInput, match="no table of moe"):
        validate_all(folder, said.append, ["gemm", "moe"])
    assert len(said) == 2


def test_no_folder_and_no_table_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder"):
        validate_all(tmp_path / "none")
    with pytest.raises(BadInput, match="no table"):
        validate_all(tmp_path)


def test_the_command_line_prints_the_page(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["validate", "--all", "--data", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "gemm" in out
    assert "gemm.parquet" in err
    monkeypatch.setenv("SPEEDLIGHT_DATA", str(folder))
    assert main(["validate", "--all", "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == 1
    assert [t["suite"] for t in answer["tables"]] == ["gemm"]


METRICS: dict[str, Any] = {
    "n": 3, "median_ape": 0.05, "mape": 0.06, "p90_ape": 0.1, "bias": 0.0, "coverage_80": 0.8, "interval_width": 1.1,
    "below_limit": 1,
}  # fmt: skip
ANSWER: dict[str, Any] = {
    "suite": "gemm", "rows": 1000, "coverage": 1.0, "seconds": 1.25,
    "metrics": {"latency": METRICS},
    "averages": {"latency": {"classes": 2, "median_ape": 0.011, "mape": 0.022, "coverage_80": 0.83}},
    "groups": {"device": {"H200": {"latency": METRICS}}, "class": {"a|b|c": {"latency": METRICS}}},
    "fit": {"id": "gemm@x", "date": "2026-01-01", "cv": [
        {"leave": "group", "column": "latency", "median_ape": 0.033, "mape": 0.055, "coverage_80": 0.79},
        {"leave": "device", "column": "other", "median_ape": 0.5, "mape": 0.5, "coverage_80": 0.5},
    ]},
    "kernel": {"n": 10, "named_right": 0.9},
}  # fmt: skip


def test_the_page_shows_errors_on_data_left_out() -> None:
    (row,) = accuracy_rows(ANSWER)
    assert len(row) == len(COLUMNS)
    assert row == (
        "gemm", "latency", "1,000", "3.3 / 5.5 %", "79 %", "–", "–", "1.1 / 2.2 %", "83 %", "100.0 %", "1 (33.333 %)",
    )  # fmt: skip
    page = accuracy_markdown({"tables": [ANSWER], "failed": []})
    assert "| " + " | ".join(row) + " |" in page
    assert "device: H200" in page
    assert "a|b|c" not in page
    assert "1.25" not in page  # a page under version control must not change with the machine's mood
    assert "gemm@x" in page
    assert page.endswith("\n")
    assert not page.endswith("\n\n")


def test_sorts_of_rows_are_shown_apart_with_their_own_errors() -> None:
    entry = {"leave": "group", "column": "latency", "median_ape": 0.4, "mape": 0.5, "coverage_80": 0.7, "part": "hard",
             "over_rows": {"n": 7, "median_ape": 0.1, "mape": 0.2, "coverage_80": 0.8}}  # fmt: skip
    part = {"rows": 7, "coverage": 0.5, "metrics": {"latency": {**METRICS, "below_limit": 0}},
            "averages": {"latency": {"classes": 1, "median_ape": 0.3, "mape": 0.6, "coverage_80": 0.9}}}  # fmt: skip
    answer = {**ANSWER, "parts": {"hard": part, "easy": part}, "fit": {**ANSWER["fit"], "cv": [entry]}}
    hard, easy = accuracy_rows(answer)
    assert hard == (
        "gemm", "latency: hard", "7", "40.0 / 50.0 %", "70 %", "–", "–", "30.0 / 60.0 %", "90 %", "50.0 %", "0",
    )  # fmt: skip
    assert easy[3] == "–"  # what was left out of one sort says nothing of another
    assert "| latency: hard | groups | 7 | 10.0 % | 20.0 % | 80.0 % |" in accuracy_markdown(
        {"tables": [answer], "failed": []}
    )


def test_the_page_in_the_docs_is_generated() -> None:
    assert "Generated by `python scripts/accuracy_page.py`" in (ROOT / "docs" / "accuracy.md").read_text(
        encoding="utf-8"
    )
