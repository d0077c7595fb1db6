"""``diagnose`` on the command line: one message and exit code 2 for bad input, one JSON object for ``--json -``."""

import json

import pytest

from speedlight.cli.main import main

from ..measurement.traces import gpu_step, served, write


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{trace}"], "--on MACHINE"),
        (["none.json", "--on", "h100-sxm-80gb"], "does not exist"),
        (["{trace}", "--on", "h900"], "h900"),
        (["{trace}", "--on", "h100-sxm-80gb", "--against", "none.json"], "does not exist"),
        (["{bench}", "--on", "h100-sxm-80gb"], "--model MODEL"),
        (["{trace}", "{trace}", "--on", "h100-sxm-80gb"], "rank 3"),
    ],
)
def test_bad_input(tmp_path, capsys, words, says):
    trace = write(tmp_path / "t.json", gpu_step(), distributedInfo={"rank": 3, "world_size": 8})
    names = {"trace": str(trace), "bench": str(served(tmp_path / "b.json"))}
    assert main(["diagnose", *(w.format(**names) for w in words)]) == 2
    out = capsys.readouterr()
    assert says in out.err
    assert "Traceback" not in out.err


def test_json_alone_on_stdout(tmp_path, capsys):
    trace = write(tmp_path / "t.json", gpu_step())
    assert main(["diagnose", str(trace), "--on", "h100-sxm-80gb", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == 1
    assert data["traces"][0]["first"] == "data_loading"


def test_a_person_reads_a_server(tmp_path, capsys):
    bench = served(tmp_path / "b.json")
    assert main(["diagnose", str(bench), "--on", "h100-sxm-80gb", "--model", "llama-3.1-8b", "--stack", "vllm"]) == 0
    assert "First cause: waiting" in capsys.readouterr().out
