"""An answer in the terminal: the question echoed, the headline, where the time goes, what would move it, what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .._foundation.quantity import format_percent, format_time
from ..engine.answers.prediction import Prediction
from .bottlenecks import bottleneck_table
from .console import BAD, Fitted, bar, bound_bar, bullets, grid, heading, listing
from .facts import Memory, bound_share, figures, interval_words, memory_figure, memory_of, reached
from .tables import ledger_bars, render_compare, render_devices, render_fit, render_models
from .theme import GRADE_SYMBOLS, family
from .tree import tree, walk
from .view import UNKNOWN, Row, by, clean, folded, merged, percents, ranged, rows_of, span, whole_number
from .words import (
    assumption_value,
    bound_words,
    called,
    coverage_words,
    crossover_sentence,
    question,
    sensitivity_words,
    title,
)  # fmt: skip

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["render_compare", "render_devices", "render_explain", "render_fit", "render_models"]

LEAST_LAYER_SHARE = 0.002


def render_explain(
    prediction: Prediction, *, by: str = "op", width: int | None = None, top: int = 16, levers: Any = None
) -> Any:
    """A rich renderable of the whole answer.

    Args:
        prediction: of one scenario or a sweep (a sweep shows ranges and no rows).
        by: rows of the table: ``op``, ``kind`` or ``layer`` (the module tree, then its bottlenecks).
        width: columns, or None for the console's.
        top: rows before the rest is folded (``op`` and ``kind``).
        levers: what would make it fit (``fit``'s list), shown when it does not.
    """
    rows = rows_of(prediction)
    memory = memory_of(prediction, levers)

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        yield _headline(prediction, rows, memory, columns, ascii_only)
        if rows:
            yield heading("Where the time goes")
            yield from bound_bar(rows, columns, ascii_only)
            yield from _table(prediction, rows, by, columns, ascii_only, top)
            necks = bottleneck_table(prediction, rows, columns, ascii_only) if by == "layer" else None
            if necks is not None:
                yield heading("Bottleneck layers", "by time; why; what they would take without what binds them")
                yield necks
        yield from ledger_bars(memory, columns, ascii_only)
        yield from _moves(prediction, columns, ascii_only)
        yield from _basis(prediction)

    return Fitted(build, width)


def _headline(prediction: Prediction, rows: Sequence[Row], memory: Memory, columns: int, ascii_only: bool) -> Any:
    """The box: inputs, then the numbers people came for."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    echo = grid(None, 1)
    for label, line in question(prediction):
        echo.add_row(Text(label, style="dim"), Text(line))
    first = Text("\n").append(ranged(prediction.time, format_time), style="bold")
    first.append(f" {called(prediction)}", style="bold")
    first.append(f"   80 % interval {interval_words(prediction)}", style="dim")
    colour = family(clean(prediction.bound, 60) if isinstance(prediction.bound, str) else "").term
    light = Text()
    if (part := reached(prediction)) is not None:
        light.append(bar(part, 20, ascii_only).replace(" ", "." if ascii_only else "·"), style=colour)
        light.append(f"  {format_percent(part)}", style="bold").append(" of the ")
    light.append(f"speed of light ({ranged(prediction.limit, format_time)})\nbound by ")
    light.append(bound_words(prediction), style=f"bold {colour}")
    if (share := bound_share(prediction, rows)) is not None:
        light.append(f", {format_percent(share)} of the time")
    light.append("\n")
    numbers = grid(None, None, 1)
    for figure in (*figures(prediction), memory_figure(memory)):
        bad = BAD if figure.bad else ""
        numbers.add_row(
            Text(figure.label, style="dim"), Text(figure.value, style=bad or "bold"), Text(figure.detail, style=bad)
        )
    parts: list[Any] = [echo, first, light, numbers]
    for lever in memory.levers if memory.fits is False else ():
        parts.append(Text(f"try {lever}", style="green" if ": fits" in lever else ""))
    edge = box.ASCII if ascii_only else box.ROUNDED
    return Panel(
        Group(*parts), title=Text(title(prediction), style="bold"), title_align="left", box=edge, width=columns,
        border_style="red" if memory.fits is False else "none",
    )  # fmt: skip


def _table(
    prediction: Prediction, rows: Sequence[Row], by_what: str, columns: int, ascii_only: bool, top: int
) -> Iterable[Any]:
    """Rows by time; sections (steps of a call, passes of a training step) under their own sums."""
    wide = columns >= 100
    heads = [
        ("", "left"),
        ("count", "right"),
        ("time", "right"),
        ("share", "left"),
        ("speed of light" if wide else "SOL", "right"),
    ]
    heads += [("SOL %", "right")] if wide else []
    table = listing([*heads, ("bound", "left")], ("",), columns)
    cells = 14 if wide else 8
    lines = list(_lines(prediction, rows, by_what, top))
    leaves = [i for i, (_, _, leaf) in enumerate(lines) if leaf]
    figures_of = dict(zip(leaves, percents([lines[i][1].share for i in leaves]), strict=True))
    for i, (depth, row, leaf) in enumerate(lines):
        percent = figures_of.get(i, format_percent(row.share))
        table.add_row(*_cells(depth, row, leaf, percent, wide, cells, ascii_only))
    yield table


def _lines(prediction: Prediction, rows: Sequence[Row], by_what: str, top: int) -> Iterable[tuple[int, Row, bool]]:
    """(indent, row, whether it is a summand of the whole)."""
    if by_what == "layer":
        for depth, node, leaf in walk(tree(prediction, rows), LEAST_LAYER_SHARE):
            yield depth, _named(node.row, node.name), leaf
        return
    sections = by(rows, lambda r: r.section)
    for section, members in sections.items():
        chosen = members
        if by_what == "kind":
            chosen = [merged(m, kind, kind=kind) for kind, m in by(members, lambda r: r.kind).items()]
        depth = 1 if len(sections) > 1 else 0
        if depth:
            yield 0, _named(merged(members, section), section or "other"), False
        shown, rest = folded(chosen, max(4, top // len(sections)))
        for row in shown:
            yield depth, row, True
        if rest is not None:
            yield depth, rest, True


def _named(row: Row, name: str) -> Row:
    from dataclasses import replace

    return replace(row, name=name)


def _cells(depth: int, row: Row, leaf: bool, percent: str, wide: bool, cells: int, ascii_only: bool) -> list[Text]:
    from rich.text import Text

    colour = family(row.bound).term
    style = "" if leaf else "bold"
    share = Text(bar(row.share, cells, ascii_only), style=colour).append(f" {percent:>7}", style="default")
    made = [
        Text("  " * depth + row.name, style=style),
        Text(f"{whole_number(row.count)} ×" if row.count is not None else "", style="dim"),
        Text(format_time(row.time), style=style),
        share,
        Text(format_time(row.limit) if row.limit else UNKNOWN, style="dim"),
    ]
    if wide:
        made.append(Text(format_percent(row.reached, 0), style="dim"))
    return [*made, Text(row.bound, style=colour)]


def _moves(prediction: Prediction, columns: int, ascii_only: bool) -> Iterable[Any]:
    """What would move it, and where the bound changes."""
    from rich.text import Text

    if prediction.sensitivities:
        yield heading("What would move it")
        ends = [span(s.gain) for s in prediction.sensitivities]
        largest = max((abs(e[1]) for e in ends if e), default=0.0) or 1.0
        table = grid(None, None, None)
        for change, end in zip(prediction.sensitivities[:10], ends, strict=False):
            what, gain = sensitivity_words(change)
            cells = max(8, min(20, columns - len(what) - 20))
            table.add_row(
                Text(what),
                Text(gain, justify="right", style="bold"),
                bar(abs(end[1]) / largest if end else 0, cells, ascii_only),
            )
        yield table
    if prediction.crossovers:
        yield heading("Where the bound changes")
        yield bullets([Text(crossover_sentence(c, prediction)) for c in prediction.crossovers[:12]])


def _basis(prediction: Prediction) -> Iterable[Any]:
    """Coverage, notes, and every assumption with its grade: the answer is worth what these are."""
    from rich.text import Text

    if covered := coverage_words(prediction):
        yield heading("Coverage")
        yield Text(covered, style="yellow")
    if prediction.notes:
        yield heading("Notes")
        yield bullets([Text(clean(note, 400)) for note in prediction.notes])
    if prediction.assumptions:
        used = sorted({a.grade for a in prediction.assumptions}, key=list(GRADE_SYMBOLS).index)
        legend = "  ".join(f"{GRADE_SYMBOLS[g]} {g}" for g in used)
        yield heading("Assumptions", legend)
        table = grid(None, 1)
        for assumption in prediction.assumptions:
            line = Text(f"{clean(assumption.what)} = {assumption_value(assumption)}", style="dim")
            if assumption.source:
                line.append(f" · {clean(assumption.source, 300)}", style="dim italic")
            table.add_row(Text(GRADE_SYMBOLS.get(assumption.grade, "?"), style="dim"), line)
        yield table
