"""Pictures of timelines: to scale, and those in the docs are what the code draws today."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from speedlight.report.gantt import NAMES, gantt
from speedlight.schedule.drawn import pipeline_trace
from speedlight.schedule.pipeline import PipelineRun, StageClass

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = importlib.util.spec_from_file_location("schedules", ROOT / "scripts" / "schedules.py")
assert SCRIPT is not None
assert SCRIPT.loader is not None
script = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(script)


def test_every_second_of_a_schedule() -> None:
    trace = pipeline_trace(PipelineRun((StageClass(3, 1.0, 2.0),), 3))
    drawn = [["·"] * round(trace.time) for track in trace.tracks if track.name == "compute"]
    rows = [i for i, track in enumerate(trace.tracks) if track.name == "compute"]
    for span in trace.spans:
        for second in range(round(span.start), round(span.end)):
            drawn[rows.index(span.track)][second] = span.kind[0].upper()
    assert ["".join(row) for row in drawn] == ["FFF····BB·BB·BB", "·FF··BBFBB·BB··", "··FBBFBBFBB····"]


def test_bars_are_to_scale() -> None:
    trace = pipeline_trace(PipelineRun((StageClass(2, 1.0, 3.0),), 2))
    picture = gantt(trace, width=NAMES + 100 * trace.time)
    root = ElementTree.fromstring(f"<svg>{picture.body}</svg>")
    widths = sorted({float(r.get("width", 0)) for r in root.iter("rect")})
    assert widths == [100.0, 300.0, 100 * trace.time]


@pytest.mark.parametrize(("file", "svg"), list(script.drawings()), ids=lambda x: x if len(x) < 30 else "")
def test_the_docs_show_what_the_code_draws(file: str, svg: str) -> None:
    ElementTree.fromstring(svg)
    assert (ROOT / "docs" / "img" / "schedules" / file).read_text(encoding="utf-8") == svg, "run scripts/schedules.py"
    assert f"img/schedules/{file}" in (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
