"""Pictures: well-formed, drawn inside their frame, written whole."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from speedlight._foundation.errors import BadInput, SpeedlightError
from speedlight.report.bars import bound_stack, gain_bars, kind_bars, memory_stack, ruler
from speedlight.report.facts import memory_of, roofs
from speedlight.report.icicle import icicle
from speedlight.report.plot import plot
from speedlight.report.roofline import roofline
from speedlight.report.svg import LogAxis, Markup, element, log_axis, shortened, text_width
from speedlight.report.view import rows_of

from . import factory
from .markup import Page

ANSWERS = factory.odd()
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ANSWERS)
def test_the_picture_is_well_formed_and_stands_alone(name: str) -> None:
    figure = plot(ANSWERS[name])
    root = ElementTree.fromstring(figure.svg)
    assert root.tag == f"{SVG}svg"
    assert figure._repr_svg_() == figure.svg
    assert "var(--" not in figure.svg  # drawing programs know no CSS variables
    assert Page(figure.svg).loads() == []
    assert float(root.get("width", 0)) > 0


@pytest.mark.parametrize("name", ANSWERS)
def test_every_chart_is_well_formed(name: str) -> None:
    answer = ANSWERS[name]
    rows = rows_of(answer)
    charts = [
        ruler(answer), bound_stack(rows), kind_bars(rows), memory_stack(memory_of(answer)), gain_bars(answer),
        icicle(answer, rows), roofline(rows, roofs(answer)),
    ]  # fmt: skip
    for chart in charts:
        if chart:
            ElementTree.fromstring(chart.inline())
            assert chart.label


@pytest.mark.parametrize("name", [n for n in ANSWERS if n not in ("sweep", "no rows", "all zero")])
def test_dots_lie_inside_the_frame(name: str) -> None:
    chart = roofline(rows_of(ANSWERS[name]), roofs(ANSWERS[name]))
    for circle in ElementTree.fromstring(chart.inline()).iter("circle"):
        x, y, r = (float(circle.get(k, "nan")) for k in ("cx", "cy", "r"))
        assert 0 < x < chart.width
        assert -1 <= y - r / 2 < chart.height
        assert r > 0


def test_dot_areas_are_in_proportion_to_time() -> None:
    rows = rows_of(factory.prediction([factory.op("a", time=4e-3), factory.op("b", time=1e-3, flops=9e9)]))
    circles = list(ElementTree.fromstring(roofline(rows, roofs(factory.prediction())).inline()).iter("circle"))
    big, small = sorted((float(c.get("r", 0)) for c in circles), reverse=True)
    assert (big / small) ** 2 == pytest.approx(4.0, rel=0.01)


def test_a_dot_under_the_ridge_lies_on_the_memory_slope_when_at_its_limit() -> None:
    """An op at its own speed of light, memory-bound, sits on the roof: intensity × bandwidth."""
    rows = rows_of(
        factory.prediction(
            [
                factory.op(time=1e-3, limit=1e-3, bytes=3e9, flops=3e9),
                factory.op("b", time=1e-3, limit=1e-3, bytes=3e9, flops=9e10),
            ]
        )
    )
    ceilings = roofs(factory.prediction(attrs={"roofs": {"compute": {"m": 1e15}, "memory": {"hbm": 3e12}}}))
    drawn = ElementTree.fromstring(roofline(rows, ceilings).inline())
    slope = [e for e in drawn.iter("line") if e.get("class") == "roof"][-1]
    x1, y1, x2, y2 = (float(slope.get(k, 0)) for k in ("x1", "y1", "x2", "y2"))
    for circle in drawn.iter("circle"):
        x, y = float(circle.get("cx", 0)), float(circle.get("cy", 0))
        assert y == pytest.approx(y1 + (y2 - y1) * (x - x1) / (x2 - x1), abs=0.5)


def test_the_bar_that_does_not_fit_passes_its_capacity() -> None:
    drawn = ElementTree.fromstring(memory_stack(memory_of(ANSWERS["unfit"]), 1000.0).inline())
    edge = float(next(e for e in drawn.iter("line") if "bad" in e.get("class", "")).get("x1", 0))
    ends = [
        float(e.get("x", 0)) + float(e.get("width", 0))
        for e in drawn.iter("rect")
        if e.get("class", "").startswith("m-")
    ]
    assert max(ends) > edge
    assert edge == pytest.approx(1000 * 80e9 / (141 * factory.GIB), abs=1)


def test_icicle_blocks_of_a_level_do_not_overlap() -> None:
    drawn = ElementTree.fromstring(icicle(ANSWERS["500 rows"], rows_of(ANSWERS["500 rows"])).inline())
    levels: dict[float, list[tuple[float, float]]] = {}
    for block in drawn.iter("rect"):
        x, y, width = (float(block.get(k, 0)) for k in ("x", "y", "width"))
        levels.setdefault(y, []).append((x, x + width))
    for spans in levels.values():
        spans.sort()
        assert all(a[1] <= b[0] + 0.05 for a, b in itertools.pairwise(spans))


def test_saving(tmp_path: Path) -> None:
    figure = plot(ANSWERS["plain"])
    ElementTree.parse(figure.save(tmp_path / "a.svg"))
    page = Page((figure.save(str(tmp_path / "a.html"))).read_text(encoding="utf-8"))
    assert page.errors == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "a.svg"]
    with pytest.raises(BadInput, match=r"a\.png"):
        figure.save(tmp_path / "a.png")
    with pytest.raises(SpeedlightError):
        figure.save(tmp_path / "nowhere" / "a.svg")


def test_elements_escape_text_and_attributes() -> None:
    made = element("text", "<b>&\"'", aria_label='"><script>', x=1.0, hidden=None)
    assert made == '<text aria-label="&quot;&gt;&lt;script&gt;" x="1">&lt;b&gt;&amp;&quot;&#x27;</text>'
    assert element("g", Markup("<path/>")) == "<g><path/></g>"


def test_axes_hold_their_values_and_stay_inside() -> None:
    axis = log_axis([1e-3, 1e3], 0.0, 100.0)
    assert isinstance(axis, LogAxis)
    assert 0 < axis(1e-3) < axis(1.0) < axis(1e3) < 100
    assert axis(0.0) == axis(1e-300) == 0.0
    assert axis(1e300) == 100.0
    assert len(log_axis([1e-300, 1e300], 0, 1).ticks(5)) <= 6
    assert log_axis([], 0, 1)(1.0) >= 0


def test_shortened_text_fits() -> None:
    for width in (0.0, 10.0, 40.0, 1000.0):
        assert text_width(shortened("q_proj+k_proj+v_proj 注意力", width)) <= max(width, 0)
