"""A ranking of techniques as one page that needs nothing else: a bar each with its interval, the table, what does not apply."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._foundation.quantity import format_bytes, format_time
from ..techniques.whatif import Outcome, Ranking
from .page import card, page
from .svg import Markup, Picture, element, joined, line, picture, rect, short, shortened, text
from .theme import bound_label, family
from .view import clean
from .whatif import factor_words, notes_of, question_line, range_words

MOST = 40  # bars of the chart; the table has all


def whatif_html(found: Ranking) -> str:
    """A self-contained page."""
    name = f"What would help {clean(found.before.model.get('id', '?'), 100)}"
    header = element(
        "header", element("div", element("h1", name), element("p", question_line(found.before))),
        element("button", "light / dark", class_="mode", type="button"),
    )  # fmt: skip
    helps = [o for o in found.singles if o.gain is not None and abs(float(o.gain.speedup) - 1) > 5e-3]
    why = (
        "Work per second and device, after over before; the line is the central 80 %, the colour what binds then. "
        "Derived by the engine for this question, not taken from the papers."
    )
    sections = [header, card("Gain", why, gain_chart(helps[:MOST]))]
    if found.together:
        sections.append(card("Together", "The best combinations.", gain_chart(found.together[:20])))
    sections.append(card("All that apply", "Best first.", _table([*found.together[:20], *found.singles])))
    if found.refused:
        rows = [
            element("tr", *(element("td", clean(x, 300)) for x in (o.names[0], *(o.refusal or ("", "")))))
            for o in found.refused
        ]
        head = element("tr", *(element("th", h) for h in ("technique", "why not", "instead")))
        sections.append(card("Does not apply", "And the nearest thing that does.", element("table", head, *rows)))
    return page(name, sections)


def gain_chart(outcomes: Sequence[Outcome], width: float = 1060.0) -> Picture:
    """A bar each on a logarithmic axis around 1×, with its interval."""
    shown = [o for o in outcomes if o.gain is not None and o.after is not None]
    if not shown:
        return Picture()
    values = [float(x) for o in shown if o.gain is not None for x in (o.gain.low, o.gain.speedup, o.gain.high)]
    least, most = min(0.9, *values), max(1.25, *values)
    left, right, row = 330.0, 80.0, 24.0

    def x(value: float) -> float:
        return left + (math.log(value / least) / math.log(most / least)) * (width - left - right)

    height = row * len(shown) + 26
    parts = []
    for tick in (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0):
        if least <= tick <= most:
            parts.append(line(x(tick), 18, x(tick), height, "mark" if tick == 1 else "grid"))
            parts.append(text(x(tick), 12, f"{short(tick)}×", "middle", "muted"))
    for i, o in enumerate(shown):
        assert o.gain is not None
        assert o.after is not None
        y = 24 + i * row
        value = float(o.gain.speedup)
        a, b = sorted((x(1.0), x(value)))
        label = " + ".join(o.names)
        words = f"{label}: {value:.2f}× ({range_words(float(o.gain.low), float(o.gain.high))}), {notes_of(o)}"
        bar = rect(a, y, b - a, 14, f"b-{family(str(o.after.bound)).key}" + ("" if o.fits else " faint"), rx=2.0)
        whisker = line(x(float(o.gain.low)), y + 7, x(float(o.gain.high)), y + 7, "interval")
        parts.append(
            element(
                "g", element("title", words), text(left - 10, y + 11, shortened(label, left - 20), "end"), bar, whisker,
                text(max(b, x(float(o.gain.high))) + 6, y + 11, factor_words(value), "start", "strong"),
            )
        )  # fmt: skip
    return picture(width, height, "gain of each technique", *parts, class_="wide")


def _table(outcomes: Sequence[Outcome]) -> Markup:
    head = element(
        "tr", *(element("th", h) for h in ("technique", "gain", "80 %", "time", "memory", "then bound by", "remarks"))
    )
    rows = []
    for o in outcomes:
        if o.gain is None or o.after is None:
            continue
        cells = (
            " + ".join(o.names), factor_words(float(o.gain.speedup)), range_words(float(o.gain.low), float(o.gain.high)),
            format_time(float(o.after.time)), format_bytes(float(o.after.memory.total)), bound_label(str(o.after.bound)), notes_of(o),
        )  # fmt: skip
        rows.append(element("tr", *(element("td", clean(c, 300)) for c in cells)))
    return element("div", element("table", head, joined(rows)), class_="scroll")
