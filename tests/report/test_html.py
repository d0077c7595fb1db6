"""Pages and cards: parse, load nothing, show everything, cannot be broken out of."""

from __future__ import annotations

import math
import re

import pytest

from speedlight.report.html import explain_html
from speedlight.report.notebook import notebook_html
from speedlight.report.view import rows_of

from . import factory
from .markup import Page

ANSWERS = factory.odd()


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_makes_a_sound_page(name: str) -> None:
    source = explain_html(ANSWERS[name])
    page = Page(source)
    assert page.errors == []
    assert page.loads() == []
    assert len(source.encode()) < 300_000
    assert "NaN" not in source
    assert not re.search(r'(?:x|y|cx|cy|r|width|height)="(?:nan|inf|-inf|None)', source)
    source.encode("utf-8")


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_makes_a_sound_card(name: str) -> None:
    source = notebook_html(ANSWERS[name])
    page = Page(source)
    assert page.errors == []
    assert page.loads() == []
    assert page.scripts == []
    assert len(source.encode()) < 40_000


@pytest.mark.parametrize("name", ["plain", "500 rows", "training", "unicode"])
def test_every_op_is_in_the_table(name: str) -> None:
    answer = ANSWERS[name]
    page = Page(explain_html(answer))
    indices = {a["data-i"] for a in page.all("tr") if "data-i" in a}
    assert indices == {str(i) for i in range(len(answer.ops))}
    for row in rows_of(answer):
        assert row.name in page.text
        assert row.path in page.text


def test_a_page_of_too_many_ops_says_what_it_left_out() -> None:
    page = Page(explain_html(ANSWERS["2000 rows"]))
    found = re.search(r"… (\d[\d,]*) more", page.text)
    assert found
    shown = sum("data-i" in a for a in page.all("tr")) - 1
    assert shown + int(found[1].replace(",", "")) == 2000


def test_hostile_names_stay_text() -> None:
    for source in (explain_html(factory.hostile()), notebook_html(factory.hostile())):
        page = Page(source)
        assert page.errors == []
        assert 'alert("x")' in page.text
        assert not any("alert" in script for script in page.scripts)
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert all(tag != "evil" for tag, _ in page.tags)


def test_only_our_own_script_runs_and_the_policy_says_so() -> None:
    page = Page(explain_html(factory.hostile()))
    assert len(page.all("script")) == 1
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("name", ["plain", "500 rows", "training", "huge"])
def test_segments_of_the_time_bar_are_the_whole(name: str) -> None:
    """A gap of 1.5 follows each segment wider than 3, so what is left is that much short."""
    page = Page(explain_html(ANSWERS[name]))
    widths = [float(a["width"]) for a in page.all("rect") if a.get("class", "").startswith("seg ")]
    full = sum(w + 1.5 if w > 1.5 else w for w in widths)
    assert math.isclose(full, 360.0, abs_tol=0.01 * len(widths) + 1.5 * sum(w <= 3 for w in widths))


def test_percentages_of_the_op_table_sum_to_100() -> None:
    page = explain_html(ANSWERS["500 rows"])
    found = [float(x) for x in re.findall(r'<td style="--p:[^"]*">([\d.]+) %</td>', page)]
    assert len(found) == 500
    assert round(sum(found), 3) == 100.0


def test_dots_can_be_reached_and_named_without_a_mouse() -> None:
    page = Page(explain_html(ANSWERS["plain"]))
    dots = [a for _, a in page.tags if a.get("class", "").startswith("dot ")]
    assert len(dots) == len(ANSWERS["plain"].ops)
    for dot in dots:
        assert "tabindex" in dot
        assert re.search(r"bound by \w+", dot["aria-label"])
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert svg["aria-label"]


def test_light_and_dark_are_both_there() -> None:
    for source in (explain_html(ANSWERS["plain"]), notebook_html(ANSWERS["plain"])):
        assert "prefers-color-scheme:dark" in source
        assert "data-jp-theme-light=false" in source


def test_the_card_keeps_its_style_to_itself() -> None:
    """Every rule of the card's style sheet begins with its own class (or a host's mark before it)."""
    style = re.search(r"<style>(.*?)</style>", notebook_html(ANSWERS["plain"]), re.S)
    assert style
    rules = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", style[1], flags=re.S)
    for selectors in re.findall(r"([^{}]+)\{", rules):
        for selector in selectors.split(","):
            assert ".sl" in selector, selector


def test_what_does_not_fit_is_marked_with_levers() -> None:
    source = explain_html(ANSWERS["unfit"])
    assert "tile bad" in source
    assert "What would make it fit" in source
    assert "--tp 2: fits" in Page(source).text
    assert "does not fit" in Page(notebook_html(ANSWERS["unfit"])).text


def test_a_page_says_what_it_rests_on() -> None:
    page = Page(explain_html(ANSWERS["plain"]))
    for words in (
        "What this rests on",
        "context",
        "= 1,024",
        "? assumed",
        "◇ published",
        "scenario ca936927ee5a",
        "Speedlight",
    ):
        assert words in page.text, words


def test_pages_are_the_same_every_time() -> None:
    assert explain_html(ANSWERS["plain"]) == explain_html(ANSWERS["plain"])


def test_every_class_and_variable_used_is_defined() -> None:
    """A colour by a variable nobody sets would be black."""
    source = explain_html(ANSWERS["training"])
    used = set(re.findall(r"var\((--[\w-]+)\)", source))
    defined = set(re.findall(r"(--[\w-]+):", source))
    assert used <= defined
