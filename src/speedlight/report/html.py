"""The answer as one page that needs nothing else: no network, no fonts, no libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._foundation.quantity import format_bytes, format_percent, format_time
from ..engine.answers.prediction import Prediction
from .bars import bound_stack, gain_bars, kind_bars, memory_stack, ruler
from .bottlenecks import bottleneck_card
from .facts import Figure, Memory, bound_share, figures, memory_figure, memory_of, reached, roofs
from .icicle import icicle
from .opstable import ops_section
from .page import card as _card
from .page import grade_row, page
from .roofline import roofline
from .svg import Markup, element, joined
from .theme import MEMORY_CLASSES, family
from .view import Row, clean, percents, ranged, rows_of, shares
from .words import bound_words, called, coverage_words, crossover_sentence, question, title


def explain_html(prediction: Prediction, *, levers: Any = None) -> str:
    """A self-contained page (light and dark, printable, usable by keyboard).

    Args:
        prediction: of one scenario or a sweep (a sweep shows ranges and no rows).
        levers: what would make it fit (``fit``'s list), shown when it does not.
    """
    rows = rows_of(prediction)
    memory = memory_of(prediction, levers)
    sections = [
        _header(prediction), _hero(prediction, rows, memory), _tiles([*figures(prediction), memory_figure(memory)]),
        _levers(memory), _roofline(prediction, rows), _pair(_kinds(rows), _memory(memory)),
        _modules(prediction, rows), bottleneck_card(prediction, rows), ops_section(rows), _basis(prediction), _footer(prediction),
    ]  # fmt: skip
    return page(title(prediction), sections)


def _header(prediction: Prediction) -> Markup:
    echo = joined(joined((element("dt", label), element("dd", line))) for label, line in question(prediction))
    words = element("div", element("h1", title(prediction)), element("dl", echo, class_="echo"))
    return element("header", words, element("button", "light / dark", class_="mode", type="button"))


def _swatch(bound: str) -> Markup:
    return element("span", class_=f"swatch b-{family(bound).key}")


def _hero(prediction: Prediction, rows: Sequence[Row], memory: Memory) -> Markup:
    """The time, how far from light, and why, in one sentence."""
    big = element(
        "div",
        ranged(prediction.time, format_time),
        element("small", called(prediction)),
        class_="big",
    )
    part = reached(prediction)
    bound = clean(prediction.bound, 60) if isinstance(prediction.bound, str) else ""
    share = bound_share(prediction, rows)
    say: list[Any] = []
    if part is not None:
        say += [element("b", format_percent(part, 0 if part >= 0.1 else 1)), " of the speed of light. "]
    say += ["Bound by ", _swatch(bound), element("b", bound_words(prediction))]
    say.append(f", {format_percent(share, 0)} of the time." if share is not None else ".")
    parts = [big, element("p", *say, class_="say")]
    if memory.fits is False:
        parts.append(
            element(
                "p",
                element("b", f"It {memory.line}."),
                " The time is what it would be with enough memory.",
                class_="say no",
            )
        )
    return element("section", *parts, element("div", ruler(prediction), class_="scroll"), class_="card")


def _tiles(found: Sequence[Figure]) -> Markup:
    tiles = []
    for figure in found:
        parts = [element("div", figure.label, class_="label"), element("div", figure.value, class_="value")]
        if figure.part is not None:
            width = f"width:{min(max(100 * figure.part, 0), 100):.1f}%"
            parts.append(element("div", element("i", style=width), class_="meter"))
        parts.append(element("div", figure.detail, class_="detail"))
        tiles.append(element("div", *parts, class_="tile bad" if figure.bad else "tile"))
    return element("div", *tiles, class_="tiles")


def _levers(memory: Memory) -> Markup:
    if memory.fits is not False or not memory.levers:
        return Markup("")
    lines = [element("li", lever) for lever in memory.levers]
    return _card("What would make it fit", memory.line, element("ul", *lines, class_="lines"))


def _pair(left: Markup, right: Markup) -> Markup:
    return element("div", left, right, class_="half") if left and right else joined((left, right))


def _roofline(prediction: Prediction, rows: Sequence[Row]) -> Markup:
    """The roofline, and beside it where the time goes and what would move it."""
    side = []
    if stack := bound_stack(rows, 360.0):
        side.append(_card("Where the time goes", "By what binds it. Click to filter the ops.", stack))
    side += _moves(prediction)
    column = element("div", *side, class_="stack") if side else Markup("")
    if not rows:
        return column
    ceilings = roofs(prediction)
    why = "Each mark is an op, its area its share of the time; the whisker ends at the op's own speed of light."
    if not ceilings.exact and ceilings.memory:
        why += " The memory slope is read off the memory-bound ops."
    chart = roofline(rows, ceilings, height=_height(prediction))
    card = _card("Roofline", why, element("div", chart, class_="scroll"))
    return element("div", card, column, class_="pair") if side else card


def _height(prediction: Prediction) -> float:
    """About as tall as the column beside it, so that neither leaves a hole."""
    gains, turns = len(prediction.sensitivities[:10]), len(prediction.crossovers[:12])
    column = 130 + (100 + 40 * gains if gains else 0) + (90 + 46 * turns if turns else 0)
    return min(max(1.13 * column, 440.0), 720.0)


def _moves(prediction: Prediction) -> list[Markup]:
    found = []
    if bars := gain_bars(prediction, 360.0):
        found.append(_card("What would move it", "One change at a time, everything else as asked.", bars))
    if prediction.crossovers:
        lines = [element("li", crossover_sentence(c, prediction)) for c in prediction.crossovers[:12]]
        why = "Sizes at which another resource takes over."
        found.append(_card("Where the bound changes", why, element("ul", *lines, class_="lines")))
    return found


def _kinds(rows: Sequence[Row]) -> Markup:
    bars = kind_bars(rows, 560.0)
    return (
        _card("By kind of op", "Colours tell what binds each kind. Click to filter the ops.", bars)
        if bars
        else Markup("")
    )


def _memory(memory: Memory) -> Markup:
    stack = memory_stack(memory, 560.0)
    if not stack:
        return Markup("")
    entries = []
    for (name, size), percent in zip(memory.classes, percents(shares([s for _, s in memory.classes])), strict=True):
        look = name if name in MEMORY_CLASSES else "workspace"
        left = element("span", element("span", class_=f"swatch m-{look}"), name)
        entries.append(element("li", left, element("span", f"{format_bytes(size)} · {percent}")))
    line = element("p", memory.line, class_="why no" if memory.fits is False else "why")
    return element(
        "section", element("h2", "Memory per device"), line, element("div", stack, class_="scroll"),
        element("ul", *entries, class_="legend"), class_="card",
    )  # fmt: skip


def _modules(prediction: Prediction, rows: Sequence[Row]) -> Markup:
    chart = icicle(prediction, rows)
    if not chart:
        return Markup("")
    return _card("By module", "Width is time; each level is one module deeper.", element("div", chart, class_="scroll"))


def _basis(prediction: Prediction) -> Markup:
    parts: list[Any] = []
    if covered := coverage_words(prediction):
        parts.append(
            _card("Coverage", "What the model of the work does not understand.", element("p", covered, class_="no"))
        )
    if prediction.notes:
        notes = [element("li", clean(note, 600)) for note in prediction.notes]
        parts.append(_card("Notes", "", element("ul", *notes, class_="lines")))
    if prediction.assumptions:
        lines = [grade_row(a) for a in prediction.assumptions]
        table = element("table", element("tbody", *lines), class_="basis")
        parts.append(
            _card(
                "What this rests on",
                "Defaults taken and figures that no better source backs, each with its grade.",
                table,
            )
        )
    return joined(parts)


def _footer(prediction: Prediction) -> Markup:
    version = clean(prediction.to_dict(ops=False)["speedlight"], 20)
    mark = prediction.attrs.get("hash")
    words = f"Speedlight {version} · layer {clean(prediction.layer, 20)}"
    return element("footer", words + (f" · scenario {clean(mark, 64)}" if mark else ""))
