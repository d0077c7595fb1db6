"""``whatif``, ``techniques``, ``claims``, ``check-claim`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speedlight.cli.main import main

ASKED = ["llama-3.1-8b", "--on", "h100-sxm-80gb", "--phase", "decode", "--batch", "8"]
TWO = ["--try", "weight-only-int", "--try", "kv-quantization"]


def _json(capsys: pytest.CaptureFixture[str], *words: str) -> dict:  # type: ignore[type-arg]
    assert main([*words, "--json", "-"]) in (0, 1)
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_whatif_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    data = _json(capsys, "whatif", *ASKED, *TWO, "--pairs")
    gains = [t["gain"] for t in data["techniques"]]
    assert gains == sorted(gains, reverse=True)
    assert all(t["low"] <= t["gain"] <= t["high"] for t in data["techniques"])
    assert data["combinations"][0]["gain"] > gains[0]
    assert data["baseline"]["time"] > data["techniques"][0]["time"] >= data["techniques"][0]["limit"]


def test_a_technique_given_is_part_of_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    alone = _json(capsys, "whatif", *ASKED, *TWO)
    given = _json(capsys, "whatif", *ASKED, *TWO, "--technique", "weight-only-int")
    assert given["baseline"]["time"] < alone["baseline"]["time"]
    assert [t["techniques"][0].partition(":")[0] for t in given["techniques"]] == ["kv-quantization"]


def test_explain_applies_techniques(capsys: pytest.CaptureFixture[str]) -> None:
    plain = _json(capsys, "explain", *ASKED)
    less = _json(capsys, "explain", *ASKED, "--technique", "weight-only-int:bits=3")
    assert less["model"]["weight_bytes"] < 0.4 * plain["model"]["weight_bytes"]
    assert less["time"] < plain["time"]


def test_a_composition_gives_each_its_part(capsys: pytest.CaptureFixture[str]) -> None:
    data = _json(capsys, "whatif", *ASKED, "--compose", "weight-only-int+kv-quantization")
    product = 1.0
    for share in data["shares"]:
        product *= share["factor"]
    assert product == pytest.approx(1 + data["together"]["gain"])


def test_tables_and_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["whatif", *ASKED, *TWO, "--why-not", "--html", str(tmp_path / "w.html")]) == 0
    out = capsys.readouterr().out
    assert "weight-only-int" in out
    assert "memory bandwidth" in out
    page = (tmp_path / "w.html").read_text()
    assert "weight-only-int" in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert main(["techniques"]) == 0
    assert "weight-only-int" in capsys.readouterr().out
    assert main(["techniques", "weight-only-int"]) == 0
    assert "bits of a weight" in capsys.readouterr().out
    assert main(["claims", "marlin"]) == 0
    assert "MARLIN" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["whatif", *ASKED, "--try", "flash-attention-9"], "flash-attention-9"),
        (["whatif", *ASKED, "--try", "weight-only-int:bits=5"], "bits is '5'"),
        (["whatif", *ASKED, "--family", "magic"], "magic"),
        (["whatif", *ASKED, "--compose", "weight-only-int", "--pairs"], "--compose"),
        (["explain", *ASKED, "--technique", "nope"], "nope"),
        (["techniques", "zzz"], "zzz"),
        (["claims", "zzz"], "zzz"),
        (["claims", "--family", "zzz"], "zzz"),
        (["claims", "marlin", "--family", "kernel"], "--family"),
        (["check-claim", "faster with magic"], "no factor"),
        (["check-claim", "3x with weight only int, llama-3.1-8b"], "no machine"),
        (["check-claim", "3x with weight only int on h100"], "no model"),
        (["check-claim", "3x on h100, llama-3.1-8b, with zzz"], "zzz"),
    ],
)
def test_bad_input_is_named(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_claims_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    text = "3x decode with weight only int on h100, llama-3.1-8b, batch 8"
    data = _json(capsys, "check-claim", text)
    assert data["verdict"] == "not explained"
    assert data["claim"]["batch"] == 8
    assert len(data["claim"]["machines"]) > 1
    flags = _json(
        capsys, "check-claim", "--gain", "1.9", "--technique", "weight-only-int", "--on", "h100-sxm-80gb",
        "--model", "llama-3.1-8b", "--phase", "decode", "--batch", "8", "--context", "1024",
    )  # fmt: skip
    assert flags["verdict"] == "reproduced"
    assert flags["stated"] is True
    assert main(["check-claim", text]) == 1
    assert "not explained" in capsys.readouterr().out
