"""What ``measure`` found, in the terminal: rates beside what was described before, dispatch, where it was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._foundation.quantity import format_si, format_time
from .console import Fitted, bullets, grid, heading, listing
from .view import clean


def render_measured(result: Mapping[str, Any], width: int | None = None) -> Any:
    """A rich renderable of ``measure``'s object."""

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        from rich.text import Text

        yield heading(clean(result["machine"]["name"], 60), f"{result['points']} points, {result['new']} of them new")
        if result["rates"]:
            table = listing(
                [("", "left"), ("measured", "right"), ("described", "right"), ("by", "left")], ("by",), columns
            )
            for rate in result["rates"]:
                shown = format_time if rate["path"].endswith("_s") else _rate(rate["path"])
                before = "–" if rate["before"] is None else shown(rate["before"])
                table.add_row(
                    Text(rate["path"]),
                    Text(shown(rate["measured"]), style="bold"),
                    Text(before),
                    Text(clean(rate["point"], 60), style="dim"),
                )
            yield table
        if result["launches"]:
            yield heading("Dispatch", "operators that compute next to nothing")
            table = grid(None, None)
            for op, seconds in result["launches"].items():
                table.add_row(op, Text(format_time(seconds), style="bold"))
            yield table
        lines = [Text(f"evidence {result['evidence']}")]
        if result["machine_file"]:
            lines.append(Text(f"machine {result['machine_file']}: use it as --on {result['machine_file']}"))
        if result["loose"]:
            lines.append(
                Text(f"{result['loose']} medians are known to no better than 10 %: other processes?", style="yellow")
            )
        lines += [Text(clean(w, 100), style="yellow") for w in result["warnings"][:3]]
        if result["failed"]:
            name, why = next(iter(result["failed"].items()))
            lines.append(
                Text(
                    f"{len(result['failed'])} points could not be measured here, like {clean(name, 50)}: {clean(why, 80)}",
                    style="dim",
                )
            )
        yield Text()
        yield bullets(lines)

    return Fitted(build, width)


def _rate(path: str) -> Any:
    unit = "FLOP/s" if ".peaks." in path else "B/s"
    return lambda value: format_si(value, unit)
