"""``speedlight measure`` on the machine the tests run on: a few points, quickly, through the front door."""

import json

import pytest

from speedlight.cli.main import main

torch = pytest.importorskip("torch")


def test_dispatch_of_this_machine(tmp_path, capsys):
    words = ["measure", "--only", "launch", "--time", "0.02", "--device", "cpu", "--json", "-"]
    files = ["--out", str(tmp_path / "e.json"), "--machine", str(tmp_path / "here.yaml")]
    assert main([*words, *files]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["new"] == first["points"] > 5
    assert all(0 < s < 0.1 for s in first["launches"].values())
    assert main([*words, *files]) == 0
    assert json.loads(capsys.readouterr().out)["new"] == 0
    assert main(["explain", "resnet18", "--on", str(tmp_path / "here.yaml"), "--json", "-"]) == 0


def test_an_unknown_sort(tmp_path, capsys):
    assert main(["measure", "--only", "magic", "--out", str(tmp_path / "e.json")]) == 2
    assert "no sort of benchmark" in capsys.readouterr().err


def test_every_operator_runs():
    from speedlight.measurement.bench.operators import FP8, OPERATORS, operator
    from speedlight.measurement.bench.plan import points

    seen = set()
    for point in points(2**20):
        if point.sort in ("operator", "launch") and point.op not in seen:
            small = {
                k: v if isinstance(v, str) or k in ("kernel", "stride", "groups") else min(v, 16)
                for k, v in point.sizes.items()
            }
            operator(point.op, {**small, "groups": 1} if "kernel" in small and "groups" in small else small)()
            seen.add(point.op)
    assert seen == set(OPERATORS) - {FP8}  # a GPU alone multiplies in it


def test_streams_move_what_they_say():
    pytest.importorskip("numba")
    from speedlight.measurement.bench.streams import ARRAYS, stream

    for loop, arrays in ARRAYS.items():
        run, moved = stream(loop, 48 * 1024)
        run()
        assert moved % (8 * arrays) == 0
        assert moved >= 48 * 1024 - 8 * arrays
