"""The picture of an answer: roofline, time by bound and by kind, as one SVG."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .._foundation.errors import BadInput
from .._foundation.files import write_atomically
from .._foundation.quantity import format_percent, format_time
from ..engine.answers.prediction import Prediction
from .bars import bound_stack, kind_bars
from .facts import reached, roofs
from .roofline import WIDTH, roofline
from .style import plain_style
from .svg import SVG_NAMESPACE, Markup, element, picture, rect, short, shortened, text
from .view import ranged, rows_of
from .words import bound_words, called, title

MARGIN = 20.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A finished picture.

    Attributes:
        svg: a complete SVG document with its style inside; opens in browsers and drawing programs.
        title: what it shows.
    """

    svg: str = field(repr=False)
    title: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Write ``.svg`` or ``.html``, whole or not at all.

        Raises:
            BadInput: for another ending.
            BadFile: if the folder cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() == ".svg":
            write_atomically(target, self.svg)
        elif target.suffix.lower() in (".html", ".htm"):
            head = Markup('<meta charset="utf-8">') + element("title", self.title)
            write_atomically(
                target, f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{self.svg}</body></html>\n'
            )
        else:
            raise BadInput(f"cannot write a picture to {target.name!r}", expected="a name that ends in .svg or .html")
        return target


def plot(prediction: Prediction) -> Figure:
    """Roofline and time bars of a prediction."""
    rows = rows_of(prediction)
    name = title(prediction)
    part = reached(prediction)
    light = f", {format_percent(part, 0)} of the speed of light" if part is not None else ""
    time = f"{ranged(prediction.time, format_time)} {called(prediction)}"
    parts = [
        text(0, 14, shortened(name, WIDTH, 12.5), class_="strong"),
        text(0, 34, shortened(f"{time}{light}; bound by {bound_words(prediction)}", WIDTH, 12.5)),
    ]
    y = 48.0
    charts = [roofline(rows, roofs(prediction), titles=True)] if rows else []
    for chart in (*charts, bound_stack(rows, WIDTH), kind_bars(rows, WIDTH)):
        if chart:
            parts.append(chart.placed(0, y))
            y += chart.height + 16
    whole = picture(WIDTH + 2 * MARGIN, y + 2 * MARGIN, name, *parts)
    return Figure(
        element(
            "svg", element("title", name), element("style", Markup(plain_style())),
            rect(0, 0, whole.width, whole.height, style="fill:#ffffff"), whole.placed(MARGIN, MARGIN),
            xmlns=SVG_NAMESPACE, viewBox=f"0 0 {short(whole.width)} {short(whole.height)}", width=whole.width,
            height=whole.height, role="img", class_="sl",
        ),
        name,
    )  # fmt: skip
