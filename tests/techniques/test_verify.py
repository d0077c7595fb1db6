"""``verify``: measured beside predicted; what cannot be applied is refused with its reason."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.cli.main import main
from speedlight.techniques.verify import direction

pytest.importorskip("torch")

RESNET = "examples/resnet.py:resnet18"


def test_an_exact_technique_in_json_and_on_a_page(capsys, tmp_path):
    page = tmp_path / "page.html"
    words = [
        RESNET,
        "--input",
        "1x3x64x64",
        "--technique",
        "reparameterized",
        "--time",
        "0.2",
        "--json",
        "-",
        "--html",
        str(page),
    ]
    assert main(["verify", *words]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["exact"]
    assert row["difference"]["close"]
    assert row["measured"]["low"] <= row["measured"]["speedup"] <= row["measured"]["high"]
    assert row["ratio"] == pytest.approx(row["predicted"]["speedup"] / row["measured"]["speedup"])
    assert row["predicted"]["limit"] <= row["predicted"]["after"]
    assert row["predicted"]["before"] / row["predicted"]["after"] == pytest.approx(row["predicted"]["speedup"])
    assert "reparameterized" in page.read_text()


@pytest.mark.parametrize(
    ("technique", "reason"),
    [
        ("sparsity-2-4", "sparse matrix units"), ("cuda-graphs", "GPU's stream"), ("weight-only-int:bits=4", "4 bits"),
        ("speculative-decoding", "no library"), ("activation-checkpointing", "for training"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_here_is_refused_with_the_reason(capsys, technique, reason):
    assert main(["verify", RESNET, "--input", "1x3x64x64", "--technique", technique]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert "Traceback" not in said


def test_unknown_techniques_and_models_are_refused(capsys):
    assert main(["verify", RESNET, "--input", "1x3x64x64", "--technique", "channels-lost"]) == 2
    assert "channels-last" in capsys.readouterr().err
    assert main(["verify", "llama-3.1-8b", "--technique", "torch-compile"]) == 2
    assert "cannot be run" in capsys.readouterr().err


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(1, 3))
@settings(max_examples=50)
def test_directions(measured, predicted, wide):
    found = direction(measured, predicted, predicted / wide, predicted * wide)
    if abs(measured - 1) >= 0.05:
        assert found["right"] == ((measured > 1) == (predicted > 1))
        assert found["measured"] != "none"
    elif found["predicted"] == "none":
        assert found["right"]
    mirrored = direction(predicted, predicted, predicted, predicted)
    assert mirrored["right"]
