"""``speedlight calibrate`` through the door of the shell: exit codes, JSON, and one clear message for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speedlight.cli.main import main
from speedlight.hardware.catalogue import load_machine

pytest.importorskip("pyarrow", reason="needs the extra 'data'")

HEAD = "m,n,k,gemm_dtype,framework,latency\n"
ROWS = [f"{m},{n},4096,bfloat16,vllm,{{}}" for n in (4096, 14336) for m in (1, 4, 16, 64)]
SLOW = HEAD + "\n".join(row.format(time) for row, time in zip(ROWS, [3e-4] * 4 + [9e-4] * 4, strict=True))
ON = ["--on", "a100-sxm-80gb", "--suite", "gemm"]


def rows(*latencies: object) -> str:
    return HEAD + "\n".join(row.format(t) for row, t in zip(ROWS, latencies, strict=False))


BAD: list[tuple[str, str, list[str], str]] = [
    ("no machine", SLOW, ["--suite", "gemm"], "--on"),
    ("unknown machine", SLOW, ["--on", "a900", "--suite", "gemm"], "a900"),
    ("machine that names variants", SLOW, ["--on", "h100", "--suite", "gemm"], "variants"),
    ("no measured column", SLOW.replace("latency", "seconds"), ON, "no measured column"),
    ("no points", HEAD, ON, "fewer than 3"),
    ("two points", rows(1e-4, 2e-4), ON, "fewer than 3"),
    ("one point four times", HEAD + "\n".join([ROWS[0].format(1e-4)] * 4), ON, "fewer than 3"),
    ("two points of each library", rows(1, 1) + "\n" + rows(1, 1).replace(HEAD, "").replace("vllm", "trtllm"), ON, "one framework"),
    ("zero latency", rows(1e-4, 0.0, 1e-4, 1e-4), ON, "row 2 is 0"),
    ("negative latency", rows(1e-4, 1e-4, -1e-4, -2e-4), ON, "row 3 is -0.0001, and of 1 more"),
    ("infinite latency", rows("inf", 1e-4, 1e-4, 1e-4), ON, "row 1 is inf"),
    ("latency in words", rows("fast", 1e-4, 1e-4, 1e-4), ON, "row 1 is fast"),
    ("missing column", SLOW.replace("gemm_dtype", "dtype"), ON, "gemm_dtype"),
    ("format nobody knows", SLOW.replace("bfloat16", "int1"), ON, "int1"),
    ("columns of several suites", SLOW.replace("m,n,k", "a,b,c"), ["--on", "a100-sxm-80gb"], "--suite"),
    ("suite that is none", SLOW, ["--on", "a100-sxm-80gb", "--suite", "gem"], "gem"),
    ("folder that is none", SLOW, [*ON, "--out", "no/such/folder/x.yaml"], "no/such/folder"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "words", "says"), BAD, ids=[case[0] for case in BAD])
def test_bad_input(
    name: str, content: str, words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(content)
    code = main(["calibrate", str(path), *words])
    out, err = capsys.readouterr()
    assert code == 2, (out, err)
    assert says in err
    assert err.startswith("speedlight: ")
    assert len(err.splitlines()) <= 4


def test_a_machine_file_of_ones_own_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "mine.csv", tmp_path / "card.yaml"
    path.write_text(SLOW)
    text = """{"schema": 1, "sort": "device", "id": "card", "name": "", "vendor": "", "kind": "gpu", "engines": [], "tiers": []}"""
    out.write_text(text)
    assert main(["calibrate", str(path), *ON, "--out", str(out)]) == 2
    assert "machine of its own" in capsys.readouterr().err
    assert out.read_text() == text


def test_json_is_one_object_and_the_file_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "mine.csv", tmp_path / "mine.yaml"
    path.write_text(SLOW)
    assert main(["calibrate", str(path), *ON, "--out", str(out), "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == 1
    assert answer["speedlight"]
    assert answer["written"] == str(out)
    assert answer["points"] == 8
    (own,) = answer["calibrations"]
    assert own["after"]["median_ape"] < own["before"]["median_ape"]
    assert own["classes"].keys() == {"a100-sxm-80gb|vllm|bfloat16"}
    assert load_machine(str(out)).calibrations[0].points == 8
    assert main(["validate", str(path), "--suite", "gemm", "--on", str(out)]) == 0
    assert "a100-sxm-80gb-calibrated with its own calibration of gemm of vllm" in " ".join(
        capsys.readouterr().out.split()
    )
    assert (
        main(["explain", "llama-3.1-8b", "--on", str(out), "--phase", "decode", "--stack", "vllm", "--json", "-"]) == 0
    )
    said = json.loads(capsys.readouterr().out)["assumptions"]
    assert [a["grade"] for a in said if a["what"] == "local calibration"] == ["fitted"]


@pytest.mark.parametrize("more", [[], ["--quick"]])
def test_people_read_what_factors_mean(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(SLOW)
    assert main(["calibrate", str(path), *ON, *more]) == 0
    out = capsys.readouterr().out
    assert "than" in out or "as long as" in out
    assert "the shipped fit expects" in out
    assert "nothing is written without --out" in out
    assert "leaving out each point" in out


def test_nothing_gained_is_exit_code_1_and_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "mine.csv", tmp_path / "mine.yaml"
    path.write_text(SLOW.replace("latency", "unused"))
    predictions = tmp_path / "p.parquet"
    assert main(["validate", str(path), *ON, "--predictions", str(predictions)]) == 0
    import pyarrow.parquet as pq

    path.write_text(rows(*pq.read_table(predictions)["predicted_latency"].to_pylist()))
    capsys.readouterr()
    assert main(["calibrate", str(path), *ON, "--out", str(out)]) == 1
    assert "nothing is gained" in capsys.readouterr().out
    assert not out.exists()


def test_rows_without_a_framework_take_the_one_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(SLOW.replace(",framework", "").replace(",vllm", ""))
    assert main(["calibrate", str(path), *ON, "--framework", "vllm", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["calibrations"][0]["framework"] == "vllm"
