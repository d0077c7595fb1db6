"""The verb ``simulate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speedlight.cli.main import main

ASK = ["simulate", "llama-3.1-8b", "--on", "h100-sxm-80gb", "--isl", "512", "--osl", "64", "--requests", "60"]


def test_json_page_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "p.html"
    assert (
        main(
            [
                *ASK,
                "--rate",
                "4",
                "--slo",
                "ttft:p95<2s",
                "--curve",
                "3",
                "--find-rate",
                "--json",
                "-",
                "--html",
                str(page),
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["finished"] == 60
    assert set(found["metrics"]["ttft"]) == {"mean", "p50", "p90", "p95", "p99"}
    assert len(found["curve"]) == 3
    assert found["largest_rate"] > 4
    text = page.read_text()
    assert text.count("<svg") == 4
    assert "http" not in text.replace("http-equiv", "")
    assert main([*ASK, "--rate", "4", "--slo", "ttft:p95<1us"]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_layouts_and_closed_loops(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, "--concurrency", "8", "--tp", "1,2", "--on", "dgx-h100", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [layout["devices"] for layout in found["layouts"]] == [1, 2]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "no load"),
        (["--rate", "1", "--concurrency", "2"], "a rate and a concurrency"),
        (["--rate", "-1"], "above 0"),
        (["--rate", "1", "--slo", "fast"], "the objective 'fast'"),
        (["--rate", "1", "--policy", "vlm"], "unknown scheduler policy"),
        (["--rate", "1", "--find-rate"], "without objectives"),
        (["--rate", "1", "--tp", "two"], "--tp two"),
        (["--arrivals", "nowhere.csv"], "does not exist"),
        (["--rate", "1", "--token-budget", "10"], "a budget"),
        (["--rate", "1", "--max-seqs", "0"], "max seqs of 0"),
        (["--rate", "1", "--prefix", "a:b"], "--prefix"),
    ],
)
def test_bad_input_is_one_message(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, *more]) == 2
    assert said in capsys.readouterr().err


def test_a_model_that_does_not_generate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "bert-large", "--on", "h100-sxm-80gb", "--rate", "1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--samples", "4"], "--samples without --train"),
        (["--train", "batch=8"], "--train without --prompts"),
        (["--train", "batch", "--prompts", "4"], "name=value"),
        (["--train", "batch=8,wings=2", "--prompts", "4"], "wings"),
        (["--train", "batch=8", "--prompts", "4", "--slo", "ttft:p95<1s"], "--slo of a post-training loop"),
        (["--train", "batch=8", "--prompts", "4", "--tp", "1,2"], "several layouts"),
        (["--train", "batch=8", "--prompts", "4", "--judge", "=x"], "--judge"),
    ],
)
def test_a_loop_that_is_none_is_bad_input(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "llama-3.1-8b", "--on", "dgx-h100", *words]) == 2
    assert why in capsys.readouterr().err
