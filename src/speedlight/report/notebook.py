"""The card a notebook shows for a prediction: headline, ruler, where the time goes, the largest ops."""

from __future__ import annotations

from .._foundation.quantity import format_percent, format_time
from ..engine.answers.prediction import Prediction
from .bars import bound_stack, ruler
from .facts import figures, memory_figure, memory_of, reached
from .style import asset, chart_style
from .svg import Markup, element
from .theme import bound_label, family
from .view import UNKNOWN, clean, folded, percents, ranged, rows_of, whole_number
from .words import assumption_value, bound_words, called, coverage_words, question

TOP = 8


def notebook_html(prediction: Prediction) -> str:
    """A compact card with its own scoped style; no script, so that every notebook shows it."""
    rows = rows_of(prediction)
    memory = memory_of(prediction)
    part = reached(prediction)
    light = f"{format_percent(part, 0)} of the speed of light, " if part is not None else ""
    facts = []
    for figure in (*figures(prediction), memory_figure(memory)):
        shown = element("b", figure.value, class_="no" if figure.bad else None, title=figure.detail or None)
        facts.append(element("div", element("span", f"{figure.label} "), shown))
    if memory.fits is False:
        facts.append(element("div", memory.line, class_="no"))
    call = called(prediction)
    parts = [
        element("style", Markup(chart_style() + asset("card.css"))),
        element("div", *(element("div", line) for _, line in question(prediction)), class_="head"),
        element("div", ranged(prediction.time, format_time), element("small", call), class_="big"),
        element("div", f"{light}bound by {bound_words(prediction)}"),
        ruler(prediction, 820.0),
        element("div", *facts, class_="facts"),
        bound_stack(rows, 820.0),
        _table(prediction),
        _basis(prediction),
    ]
    return element("div", *parts, class_="sl sl-card")


def _table(prediction: Prediction) -> Markup:
    rows = rows_of(prediction)
    if not rows:
        return Markup("")
    shown, rest = folded(rows, TOP)
    lines = [*shown, *([rest] if rest else [])]
    body = []
    for row, percent in zip(lines, percents([r.share for r in lines]), strict=True):
        cells = [
            f"{row.section} {row.name}".strip() if row is not rest else row.name,
            f"{whole_number(row.count)} ×" if row.count is not None else "",
            format_time(row.time), percent, format_time(row.limit) if row.limit else UNKNOWN,
        ]  # fmt: skip
        mark = element("span", class_=f"swatch b-{family(row.bound).key}")
        body.append(element("tr", *(element("td", c) for c in cells), element("td", mark, bound_label(row.bound))))
    heads = [element("th", name) for name in ("op", "count", "time", "share", "speed of light", "bound")]
    return element("table", element("thead", element("tr", *heads)), element("tbody", *body))


def _basis(prediction: Prediction) -> Markup:
    lines = [element("li", covered)] if (covered := coverage_words(prediction)) else []
    for a in prediction.assumptions:
        source = f" · {clean(a.source, 300)}" if a.source else ""
        lines.append(element("li", f"{clean(a.what)} = {assumption_value(a)} ({clean(a.grade, 20)}){source}"))
    if not lines:
        return Markup("")
    return element("details", element("summary", f"{len(prediction.assumptions)} assumptions"), element("ul", *lines))
