"""A trace as a picture of its tracks: bars over time, drawn to scale, as SVG for pages."""

from __future__ import annotations

from ..schedule.trace import Trace
from .svg import Markup, Picture, element, joined, rect, text

# Light and dark shade of a sort of work; every bar carries its label too.
SHADES = {
    "forward": ("#2463d6", "#ffffff"), "backward": ("#00695c", "#ffffff"), "weight": ("#6cc3f5", "#101828"),
    "shared": ("#ea8c00", "#101828"), "send": ("#b95cb0", "#ffffff"), "wait": ("#e6d22e", "#101828"),
}  # fmt: skip
OTHER = ("#5d6675", "#ffffff")

ROW, NAMES, TOP = 20.0, 70.0, 4.0


def gantt(trace: Trace, *, width: float = 900.0, tracks: tuple[str, ...] = ("compute",), label: str = "") -> Picture:
    """Bars of the tracks so named, group under group, to scale.

    Args:
        width: of the picture, names included.
        tracks: which tracks, by name.
        label: what it shows, for those who do not see it.
    """
    rows = [i for i, track in enumerate(trace.tracks) if track.name in tracks]
    place = {track: row for row, track in enumerate(rows)}
    end = max((s.end for s in trace.spans), default=0.0) or 1.0
    scale = (width - NAMES) / end
    body: list[Markup] = []
    for row, track in enumerate(rows):
        y = TOP + row * ROW
        body.append(element("text", trace.tracks[track].group, x=0.0, y=y + 14, font_size=12.0, fill="#7f8899"))
        body.append(rect(NAMES, y, width - NAMES, ROW - 2, fill="#98a1b0", fill_opacity=0.15))
    for span in trace.spans:
        if span.track not in place:
            continue
        fill, ink = SHADES.get(span.kind, OTHER)
        x, y, wide = NAMES + span.start * scale, TOP + place[span.track] * ROW, (span.end - span.start) * scale
        body.append(rect(x, y, wide, ROW - 2, fill=fill, stroke="#ffffff", stroke_width=0.5))
        if wide > 7.0 * len(span.name):
            shown = text(x + wide / 2, y + 13, span.name, "middle")
            body.append(Markup(shown.replace("<text ", f'<text font-size="11" fill="{ink}" ', 1)))
    return Picture(width, TOP * 2 + ROW * len(rows), label or "what runs when", joined(body), "gantt")
