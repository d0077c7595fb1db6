"""A module run for real beside its prediction: modules match, nothing is lost, memory agrees to the byte where it is exact."""

import json
from pathlib import Path

import pytest

from speedlight.cli.main import main

torch = pytest.importorskip("torch")
from speedlight.measurement.modules.run import run  # noqa: E402
from speedlight.measurement.modules.subject import made, recipe  # noqa: E402

FACTORY = """
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()

def net():
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), *[Block() for _ in range(3)], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))

def broken():
    raise RuntimeError("no such net")
"""


@pytest.fixture
def factory(tmp_path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(FACTORY)
    return str(path)


@pytest.mark.parametrize("phase", ["forward", "train"])
def test_modules_beside_their_prediction(factory, capsys, tmp_path, phase):
    page = tmp_path / "page.html"
    words = [
        f"{factory}:net",
        "--input",
        "4x3x32x32",
        "--phase",
        phase,
        "--time",
        "0.05",
        "--html",
        str(page),
        "--json",
        "-",
    ]
    assert main(["measure", *words]) == 0
    assert "Modules" in page.read_text()
    result = json.loads(capsys.readouterr().out)
    assert result["measured"]["low"] <= result["measured"]["time"] <= result["measured"]["high"]
    assert result["predicted"]["limit"] <= result["predicted"]["time"]
    rows = {(r["path"], r["phase"]): r for r in result["layers"]}
    block = next(r for (path, phase), r in rows.items() if path.endswith("conv") and phase == "forward")
    assert block["measured"] > 0
    assert block["predicted"] > 0
    if phase == "train":
        assert rows["optimizer", "optimizer"]["measured"] > 0
        assert rows["optimizer", "optimizer"]["predicted"] > 0
        assert any(r["phase"] == "backward" and r["measured"] > 0 and r["predicted"] > 0 for r in result["layers"])
    weights = sum(4 * p.numel() for p in _net(factory).parameters())
    assert result["memory"]["kept"] >= weights
    assert result["memory"]["ratio"] == pytest.approx(1, abs=0.35)


def _net(factory):
    names: dict = {}
    exec(Path(factory).read_text(), names)
    return names["net"]()


def test_operators_fill_no_more_than_the_step(factory):
    measured = run(made(recipe(f"{factory}:net", ["2x3x32x32"])), seconds=0.05)
    assert 0 < sum(s.busy for s in measured.spent) <= measured.traced
    assert measured.peak > measured.kept
    assert {s.path for s in measured.spent} >= {"0", "1.conv", "2.norm", "6"}


@pytest.mark.parametrize(
    ("source", "says"), [("{f}:broken", "no such net"), ("{f}:absent", "absent"), ("llama-3.1-8b", "PyTorch")]
)
def test_what_cannot_be_run(factory, capsys, source, says):
    assert main(["measure", source.format(f=factory), "--input", "1x3x32x32"]) == 2
    assert says in capsys.readouterr().err
