"""What the terminal views are made of: text bars, stacked bars, headings, compact tables. rich is imported when used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .theme import bound_label, family
from .view import Row, by, percents

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table
    from rich.text import Text

_EIGHTHS = " ▏▎▍▌▋▊▉"
WIDEST = 130  # beyond this, eyes lose the line
BAD = "bold red"


class Fitted:
    """A renderable that is built for the width it is given.

    Args:
        build: (columns, ascii only) → renderables.
        width: fixed columns, or None for the console's (at most :data:`WIDEST`).
    """

    def __init__(self, build: Callable[[int, bool], Iterable[Any]], width: int | None = None) -> None:
        self._build = build
        self._width = width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Any]:
        columns = min(options.max_width, self._width or WIDEST)
        for item in self._build(columns, options.ascii_only):
            yield from console.render(item, options.update(width=columns))


def bar(part: float, cells: int, ascii_only: bool = False) -> str:
    """A bar of ``part`` (0–1) of ``cells`` columns, padded to them."""
    part = min(max(part, 0.0), 1.0) if math.isfinite(part) else 0.0
    if ascii_only:
        return ("#" * round(part * cells)).ljust(cells)
    eighths = round(part * cells * 8)
    if not eighths and part > 0:
        eighths = 1
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def cells_of(parts: Sequence[float], cells: int) -> list[int]:
    """Whole columns for shares, together as many as their sum deserves (largest remainder)."""
    exact = [p * cells for p in parts]
    floors = [math.floor(x + 1e-9) for x in exact]
    order = sorted(range(len(parts)), key=lambda i: floors[i] - exact[i])
    for i in order[: max(0, round(math.fsum(exact)) - sum(floors))]:
        floors[i] += 1
    return floors


def stacked(parts: Sequence[tuple[float, str]], cells: int, ascii_only: bool = False) -> Text:
    """One bar of coloured (share, style) segments; with ASCII each segment has its own letter."""
    from rich.text import Text

    text = Text(no_wrap=True)
    for i, (width, (_, style)) in enumerate(zip(cells_of([p for p, _ in parts], cells), parts, strict=True)):
        text.append((chr(65 + i % 26) if ascii_only else "█") * width, style=style)
    return text


def bound_bar(rows: Sequence[Row], cells: int, ascii_only: bool = False) -> list[Text]:
    """Where the time goes by bound: a stacked bar, and its legend."""
    from rich.text import Text

    groups = by(rows, lambda r: r.bound)
    parts = [math.fsum(r.share for r in members) for members in groups.values()]
    if not math.fsum(parts):
        return []
    entries = []
    for i, (bound, percent) in enumerate(zip(groups, percents(parts), strict=True)):
        entry = Text(chr(65 + i % 26) if ascii_only else "■", style=family(bound).term)
        entries.append(entry.append(f" {bound_label(bound)} ", style="default").append(percent, style="bold default"))
    styles = [(part, family(bound).term) for part, bound in zip(parts, groups, strict=True)]
    return [stacked(styles, cells, ascii_only), *flowed(entries, cells)]


def flowed(entries: Sequence[Text], cells: int, gap: str = "   ") -> list[Text]:
    """Entries in lines of at most ``cells`` columns, none broken in the middle."""
    from rich.text import Text

    lines: list[Text] = []
    for entry in entries:
        if lines and lines[-1].cell_len + len(gap) + entry.cell_len <= cells:
            lines[-1].append(gap).append_text(entry)
        else:
            lines.append(Text().append_text(entry))
    return lines


def heading(text: str, note: str = "") -> Text:
    """A section's name, and what is good to know about it."""
    from rich.text import Text

    made = Text("\n").append(text, style="bold")
    return made.append(f"  {note}", style="dim") if note else made


def grid(*ratios: int | None) -> Table:
    """A borderless table; a number makes the column wrap and take that share of the space."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for ratio in ratios:
        table.add_column(ratio=ratio, no_wrap=ratio is None, overflow="fold")
    return table


def bullets(lines: Sequence[Text]) -> Table:
    """Sentences with hanging indent."""
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for entry in lines:
        table.add_row("·", entry)
    return table


def listing(columns: Sequence[tuple[str, str]], flexible: Sequence[str], columns_wide: int) -> Table:
    """A table of (header, ``left``/``right``) columns; only the ``flexible`` ones give way and are shortened."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
        width=columns_wide,
    )
    for name, side in columns:
        mine = name in flexible
        table.add_column(
            name, justify="right" if side == "right" else "left", no_wrap=True, overflow="ellipsis",
            ratio=1 if mine else None, min_width=12 if mine else None,
        )  # fmt: skip
    return table
