"""Traces that torch.profiler records of programs with one thing wrong: the diagnosis names it, and no longer when mended."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import speedlight

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
PROGRAM = str(Path(__file__).with_name("programs.py"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder of all traces: two processes train together, then one loads slowly and the other decodes."""
    folder = tmp_path_factory.mktemp("recorded")
    for name in ("sync", "alone"):
        (folder / name).mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, PROGRAM, str(folder)]
    processes = [
        subprocess.Popen([*command, str(number), str(port)], stderr=subprocess.PIPE, text=True) for number in (0, 1)
    ]
    for process in processes:
        _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error[-2000:]
    return folder


def first(path):
    return speedlight.diagnose(path, "here")["traces"][0]


def test_a_slow_loader(recorded):
    slow = first(recorded / "slow.json")
    assert slow["first"] == "data_loading"
    assert first(recorded / "fast.json")["first"] != "data_loading"


def test_small_operators(recorded):
    one = first(recorded / "one.json")
    assert one["first"] == "host"
    assert first(recorded / "many.json")["first"] == "compute"


def test_an_all_reduce_that_stands_alone(recorded):
    answer = speedlight.diagnose(recorded / "sync", "here")
    assert [t["rank"] for t in answer["traces"]] == [0, 1]
    assert {t["first"] for t in answer["traces"]} == {"communication"}
    mended = speedlight.diagnose(recorded / "alone", "here")
    assert "communication" not in {t["first"] for t in mended["traces"]}
