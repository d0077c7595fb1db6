"""The shell of a page that needs nothing else: no network, no fonts, no libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._foundation.provenance import Assumption
from .style import asset, chart_style
from .svg import Markup, element
from .theme import GRADE_SYMBOLS
from .view import clean
from .words import assumption_value

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(title: str, sections: Sequence[Markup]) -> str:
    """A self-contained document (light and dark, printable, usable by keyboard)."""
    head = [
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width,initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", f"{title} · Speedlight"),
        element("style", Markup(chart_style() + asset("page.css"))),
    ]
    tip = element("div", id="tip", role="status")
    body = element("body", element("main", *sections), tip, element("script", Markup(asset("page.js"))), class_="sl")
    return f'<!doctype html>\n<html lang="en">{element("head", *head)}{body}</html>\n'


def card(name: str, why: str, *content: Any) -> Markup:
    return element("section", element("h2", name), element("p", why, class_="why"), *content, class_="card")


def grade_row(assumption: Assumption) -> Markup:
    """A table row: grade, what is taken for what, and whose figure it is."""
    grade = clean(assumption.grade, 20)
    badge = element(
        "span", f"{GRADE_SYMBOLS.get(grade, '?')} {grade}", class_=f"grade {grade if grade in GRADE_SYMBOLS else ''}"
    )
    what = [element("b", clean(assumption.what)), f" = {assumption_value(assumption)}"]
    if assumption.source:
        what.append(element("span", f" · {clean(assumption.source, 300)}", class_="source"))
    return element("tr", element("td", badge), element("td", *what))
