"""Hostile files: refused within 5 s and 1 GB with one message, never a traceback; nothing is executed."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speedlight._foundation.errors import SpeedlightError
from speedlight.frontends.onnx_file import load_onnx

from .hostile import REFUSED, UNKNOWN, doubling, good

SECONDS = 5.0
GIGABYTE_KB = 2**20


def written(folder: Path, content: object) -> Path:
    path = folder / "model.onnx"
    if callable(content):
        content(path)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_message(name: str, tmp_path: Path) -> None:
    content, says = REFUSED[name]
    path = written(tmp_path, content)
    before = time.process_time()
    with pytest.raises(SpeedlightError) as refusal:
        load_onnx(path)
    assert says in str(refusal.value)
    assert len(str(refusal.value)) < 600
    assert time.process_time() - before < SECONDS


@pytest.mark.parametrize("name", ["million nodes", "2 GB of zeros"])
def test_a_command_line_stays_under_a_gigabyte(name: str, tmp_path: Path) -> None:
    """In a process of its own, whose address space is limited; mapping a file counts, so large ones get its size on top."""
    path = written(tmp_path, REFUSED[name][0])
    size = path.stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**30 + size, 2**30 + size))

    command = [sys.executable, "-m", "speedlight", "explain", str(path), "--on", "a100-sxm-80gb"]
    found = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=300, check=False)
    assert found.returncode == 2, found.stderr[-400:]
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_knows_is_listed(name: str, tmp_path: Path) -> None:
    content, operator = UNKNOWN[name]
    graph = load_onnx(written(tmp_path, content))
    assert any(operator in listed for listed in graph.attrs["unknown_ops"])


def test_tensors_may_grow_but_not_beyond_all_bounds(tmp_path: Path) -> None:
    assert sum(1 for _ in load_onnx(written(tmp_path, doubling(40))).ops()) == 41
    with pytest.raises(SpeedlightError, match="elements"):
        load_onnx(written(tmp_path, doubling(60)))


def test_cut_anywhere_or_changed_anywhere_it_is_read_or_refused(tmp_path: Path) -> None:
    """Every prefix, and bytes changed at random: an answer or one of our errors, nothing else."""
    chance = random.Random(4)
    samples = [good[:length] for length in range(0, len(good), 3)]
    for _ in range(150):
        changed = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        samples.append(bytes(changed))
    for sample in samples:
        try:
            load_onnx(written(tmp_path, sample))
        except SpeedlightError:
            continue


def test_absent_and_short_external_data(tmp_path: Path) -> None:
    from .hostile import adding, external

    path = written(tmp_path, adding(external("w.bin", [2, 4])))
    assert any("w.bin is not there" in value for _, value in load_onnx(path).attrs["assumptions"])
    (tmp_path / "w.bin").write_bytes(b"\0" * 31)
    with pytest.raises(SpeedlightError, match="cut short"):
        load_onnx(path)
    (tmp_path / "w.bin").write_bytes(b"\0" * 32)
    assert load_onnx(path).attrs["assumptions"] == ()
