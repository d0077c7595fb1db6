"""Terminal views: never raise, fit the width, tell the whole."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from speedlight.report.text import render_compare, render_devices, render_explain, render_fit, render_models

from . import factory

ANSWERS = factory.odd()


def shown(renderable: Any, width: int = 80, colour: bool = False) -> str:
    stream = io.StringIO()
    Console(width=width, file=stream, force_terminal=colour, color_system="truecolor" if colour else None).print(
        renderable
    )
    return stream.getvalue()


@pytest.mark.parametrize("by", ["op", "kind", "layer"])
@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_fits_the_width(name: str, width: int, by: str) -> None:
    out = shown(render_explain(ANSWERS[name], by=by), width)
    assert max(cell_len(line) for line in out.splitlines()) <= width
    assert "\x1b" not in out
    assert "nan" not in re.sub(r"\bñandú\b", "", out).lower().split()


def test_the_headline_is_complete() -> None:
    out = shown(render_explain(ANSWERS["all figures"]))
    for words in ("80 % interval", "of the speed of light", "bound by memory bandwidth", "Throughput", "TTFT", "TPOT", "MFU",
                  "bf16, fp32 accumulate, dense", "MBU", "fits", "free", "Energy", "Power", "Cost"):  # fmt: skip
        assert words in out, words


def test_inputs_are_echoed() -> None:
    out = shown(render_explain(ANSWERS["plain"]), 120)
    for words in (
        "llama-3.1-8b",
        "8.03 B parameters",
        "KV 128 KiB/token",
        "h100-sxm-80gb",
        "batch 1",
        "context 1,024",
        "vllm@0.11",
    ):
        assert words in out, words


@pytest.mark.parametrize("by", ["op", "kind", "layer"])
@pytest.mark.parametrize("name", ["plain", "500 rows", "training", "one row"])
def test_percentages_of_the_table_sum_to_100(name: str, by: str) -> None:
    """Summands are the leaves: sums over sections and modules stand in bold and are left out here."""
    out = shown(render_explain(ANSWERS[name], by=by), 110, colour=True)
    lines = out.split("Memory per device")[0].split("Bottleneck layers")[0].splitlines()
    start = next(i for i, line in enumerate(lines) if "SOL %" in line)
    found = []
    for line in lines[start + 2 :]:
        percent = re.search(r"(\d+\.\d) %", re.sub(r"\x1b\[[0-9;]*m", "", line))
        if percent and not line.lstrip().startswith("\x1b[1m"):
            found.append(float(percent[1]))
    assert round(sum(found), 3) == 100.0


def test_rows_beyond_the_top_are_folded_not_lost() -> None:
    out = shown(render_explain(ANSWERS["500 rows"], top=10))
    assert "… 490 more" in out


def test_assumptions_come_last_and_all_of_them() -> None:
    out = shown(render_explain(ANSWERS["plain"]), 100)
    tail = out[out.index("Assumptions") :]
    assert "context = 1,024" in tail
    assert "5.50 TB/s" in tail
    assert "vLLM documentation" in tail
    assert "Memory per device" not in tail


def test_what_does_not_fit_is_said_in_red_with_levers() -> None:
    out = shown(render_explain(ANSWERS["unfit"]), 100, colour=True)
    assert re.search(r"\x1b\[1;31m[^\x1b]*does not fit", out)
    assert "--tp 2: fits" in out
    assert "--weights fp8: not enough" in out
    given = shown(render_explain(factory.prediction(memory=ANSWERS["unfit"].memory), levers=["buy more"]))
    assert "buy more" in given


def test_levers_are_not_offered_where_it_fits() -> None:
    assert "--tp 2" not in shown(render_explain(factory.prediction(attrs={"levers": ["--tp 2"]})))


def test_coverage_is_told_when_it_is_not_whole() -> None:
    assert "Coverage" not in shown(render_explain(ANSWERS["plain"]))
    out = shown(render_explain(ANSWERS["uncovered"]))
    assert "99.0 % of FLOPs" in out
    assert "custom::op0" in out
    assert "28 more" in out


def test_sections_are_told_apart() -> None:
    out = shown(render_explain(ANSWERS["training"]))
    for words in ("forward", "backward", "optimizer"):
        assert words in out


def test_terminal_escapes_from_names_do_not_reach_the_terminal() -> None:
    out = shown(render_explain(factory.hostile()), 120, colour=True)
    assert "\x1b[31mevil" not in out
    assert "\u202e" not in out
    assert "[bold" not in out


def test_square_brackets_are_text_not_markup() -> None:
    out = shown(render_explain(factory.prediction([factory.op("[red]x[/red]", path="a[0]")])))
    assert "[red]x[/red]" in out


def test_ascii_consoles_get_ascii_bars() -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"  # type: ignore[assignment]

    stream = Ascii()
    Console(width=80, file=stream).print(render_explain(ANSWERS["plain"]))
    assert not set("█▏─│╭■") & set(stream.getvalue())


def test_compare_sorts_by_time_and_marks_the_unknown() -> None:
    slow = factory.prediction(model="slow-model", time=1.0)
    fast = factory.prediction(
        model="fast-model", time=1e-3, machine={"id": "b200", "n_devices": 2, "used": 2, "usd_per_hour": 3.0}
    )
    for width in (80, 120):
        out = shown(render_compare([slow, fast, ANSWERS["nan"]]), width)
        assert out.index("fast-model") < out.index("slow-model")
        assert "6.00" in out
        assert "–" in out
        assert "…" not in out
        assert max(cell_len(line) for line in out.splitlines()) <= width


def test_compare_of_everything_and_of_nothing() -> None:
    for answers in ([], [ANSWERS["plain"]], list(ANSWERS.values())):
        out = shown(render_compare(answers))
        assert max(map(cell_len, out.splitlines()), default=0) <= 80


def test_fit_tells_the_answer_and_the_levers() -> None:
    gib = factory.GIB
    answer = {
        "fits": False, "by": -12 * gib, "largest_batch": 0, "largest_context": 4096, "users": 0, "batch": 1, "context": 1025,
        "memory": {"by_class": {"weights": 80 * gib, "kv": 6.5 * gib}, "capacity": 74.5 * gib},
        "levers": [{"change": "--tp 2", "fits": True, "by": 3 * gib}],
    }  # fmt: skip
    out = shown(render_fit(answer))
    for words in (
        "does not fit, 12.0 GiB too much",
        "batch 1",
        "largest context",
        "4,096",
        "weights",
        "--tp 2: fits, 3.00 GiB free",
    ):
        assert words in out, words


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"fits": True},
        {"fits": True, "by": None, "levers": None, "memory": None},
        {"fits": False, "levers": ["x", {}]},
    ],
)
def test_fit_copes_with_what_is_missing(answer: dict[str, Any]) -> None:
    assert "fit" in shown(render_fit(answer))


def test_listings_fit_80_columns_and_name_ids_whole() -> None:
    device = {
        "id": "rtx-pro-6000-workstation-96gb", "name": "NVIDIA", "kind": "gpu", "year": 2025, "n_devices": 8, "memory": 96e9,
        "bandwidth": 1.79e12, "half_peak": 504e12, "fp8_peak": 1010e12, "tdp": 600, "grade": "published",
    }  # fmt: skip
    model = {
        "id": "qwen3-vl-235b-a22b-instruct", "hub": "Qwen/Qwen3-VL-235B-A22B-Instruct", "family": "qwen_moe", "params": 236e9,
        "active": 21.6e9, "kv_bytes_per_token": 192512.0, "layers": 94, "max_context": 262144,
    }  # fmt: skip
    for width in (80, 140):
        out = shown(render_devices([device, {"id": "x"}]), width)
        assert device["id"] in out
        assert "1,010" in out
        assert max(map(cell_len, out.splitlines())) <= width
        out = shown(render_models([model, {"id": "x"}]), width)
        assert model["id"] in out
        assert "21.6 B" in out
        assert max(map(cell_len, out.splitlines())) <= width
    assert shown(render_devices([])) is not None
    assert shown(render_models([])) is not None


def test_rich_is_not_imported_with_the_room() -> None:
    import subprocess
    import sys

    code = "import sys, speedlight.report.text, speedlight.report.html, speedlight.report.plot; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
