"""A served load as one page that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._foundation.quantity import format_time
from .page import card, grade_row, page
from .serving import NAMES, STATISTICS, engine_words, figures, load_words, title, verdicts
from .serving_charts import cdf_chart, curve_chart, timeline_chart
from .svg import Markup, element, joined
from .view import clean

if TYPE_CHECKING:
    from ..engine.serving.simulate import Answer


def simulate_html(answer: Answer) -> str:
    """A self-contained page: latencies, distribution, load–latency curve, timeline, what it rests on."""
    name = title(answer)
    echo = [("load", load_words(answer)), ("engines", engine_words(answer)), ("stack", str(answer.facts["stack"]))]
    listed = joined(joined((element("dt", k), element("dd", clean(v, 300)))) for k, v in echo)
    header = element(
        "header", element("div", element("h1", clean(name, 200)), element("dl", listed, class_="echo")),
        element("button", "light / dark", class_="mode", type="button"),
    )  # fmt: skip
    curves = [c for c in (curve_chart(answer, "ttft"), curve_chart(answer, "tpot")) if c]
    sections = [
        header, _hero(answer), _tiles(answer),
        element(
            "div", card("Latencies", "Over finished requests; gaps between tokens for ITL.", _table(answer)),
            card("Distribution", "Share of requests below each latency; dashed: the objectives.", cdf_chart(answer)),
            class_="half",
        ),
        element("div", *(card("Load–latency curve", "The same requests, closer together.", c) for c in curves), class_="half")
        if curves else Markup(""),
        card("Timeline", "Requests running and waiting, and the KV cache.", timeline_chart(answer)),
        _basis(answer),
    ]  # fmt: skip
    return page(clean(name, 200), sections)


def _hero(answer: Answer) -> Markup:
    m = answer.metrics
    big = element(
        "div", format_time(m["ttft"]["p95"]), element("small", "to the first token, 95th percentile"), class_="big"
    )
    say = element(
        "p", element("b", format_time(m["tpot"]["p95"])), " per output token after it, 95th percentile.", class_="say"
    )
    lines = [
        element("p", f"{'Holds' if ok else 'Misses'} {words}", class_="say" if ok else "say no")
        for words, ok in verdicts(answer)
    ]
    return element("section", big, say, *lines, class_="card")


def _tiles(answer: Answer) -> Markup:
    tiles = [
        element("div", element("div", label, class_="label"), element("div", value, class_="value"),
                element("div", detail, class_="detail"), class_="tile")
        for label, value, detail in figures(answer)
    ]  # fmt: skip
    return element("div", *tiles, class_="tiles")


def _table(answer: Answer) -> Markup:
    head = element("tr", element("td", ""), *(element("td", s) for s in STATISTICS))
    rows = [
        element("tr", element("td", f"{words} ({metric.upper()})", style="text-align:left;white-space:normal"),
                *(element("td", format_time(answer.metrics[metric][s])) for s in STATISTICS))
        for metric, words in NAMES.items()
    ]  # fmt: skip
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def _basis(answer: Answer) -> Markup:
    parts = []
    if answer.notes:
        parts.append(
            card("Notes", "", element("ul", *(element("li", clean(n, 300)) for n in answer.notes), class_="lines"))
        )
    rows = [grade_row(a) for a in answer.assumptions]
    table = element("table", element("tbody", *rows), class_="basis")
    parts.append(card("What it rests on", "Every figure nobody stated, by grade.", table))
    return joined(parts)
