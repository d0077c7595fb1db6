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


def recorded(*arguments):
    return subprocess.Popen([sys.executable, PROGRAM, *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def ended(process):
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error[-2000:]


def first(path):
    return speedlight.diagnose(path, "here")["traces"][0]


def test_a_slow_loader(tmp_path):
    ended(recorded("training", tmp_path))
    slow = first(tmp_path / "slow.json")
    assert slow["first"] == "data_loading"
    assert first(tmp_path / "fast.json")["first"] != "data_loading"


def test_small_operators(tmp_path):
    ended(recorded("decoding", tmp_path))
    one = first(tmp_path / "one.json")
    assert one["first"] == "host"
    assert first(tmp_path / "many.json")["first"] == "compute"


def test_an_all_reduce_that_stands_alone(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for folder in ("sync", "alone"):
        (tmp_path / folder).mkdir()
    for process in [recorded("ranks", tmp_path, number, port) for number in range(2)]:
        ended(process)
    answer = speedlight.diagnose(tmp_path / "sync", "here")
    assert [t["rank"] for t in answer["traces"]] == [0, 1]
    assert {t["first"] for t in answer["traces"]} == {"communication"}
    mended = speedlight.diagnose(tmp_path / "alone", "here")
    assert "communication" not in {t["first"] for t in mended["traces"]}
