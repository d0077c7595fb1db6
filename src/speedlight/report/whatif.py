"""``whatif`` and ``techniques`` for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._foundation.quantity import format_bytes, format_time
from ..engine.answers.prediction import Prediction
from ..techniques.technique import FAMILIES
from ..techniques.whatif import Outcome, Ranking, Share
from .console import BAD, Fitted, bar, bullets, grid, heading, listing
from .theme import bound_label, family
from .view import clean
from .words import called


def factor_words(value: float) -> str:
    """``1.65×``; changes under half a percent are none."""
    return "–" if abs(value - 1) < 5e-3 else f"{value:.2f}×" if value < 100 else f"{value:.0f}×"


def range_words(low: float, high: float) -> str:
    return f"{low:.2f}–{high:.2f}"


def question_line(before: Prediction) -> str:
    """Model, machine, phase and time of the baseline."""
    call = called(before)
    return (
        f"{clean(before.model.get('id', '?'))} on {clean(before.machine.get('id', '?'))}, {before.stack}: "
        f"{format_time(float(before.time))} {call}, bound by {bound_label(str(before.bound))}"
    )


def notes_of(outcome: Outcome) -> str:
    """Crossovers, and what it does to results, in a phrase."""
    words = [t.words for t in outcome.turns]
    if not outcome.fits:
        words.insert(0, "does not fit")
    quoted = [q for t in outcome.techniques for q in t.quality]
    if all(t.exact for t in outcome.techniques):
        words.append("exact")
    elif quoted:
        words.append(f"{quoted[0].what}: {quoted[0].value} ({quoted[0].source})")
    return "; ".join(words)


def render_whatif(found: Ranking, top: int, why_not: bool) -> Any:
    """The ranking, what changes memory only, combinations, and what does not apply."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        yield Text(question_line(found.before), style="bold")
        helps = [o for o in found.singles if o.gain is not None and float(o.gain.speedup) > 1.005]
        saves = [o for o in found.singles if o not in helps and o.gain is not None and float(o.gain.memory) > 1.005]
        slower = [o for o in found.singles if o.gain is not None and float(o.gain.speedup) < 0.995 and o not in saves]
        same = len(found.singles) - len(helps) - len(saves) - len(slower)
        parts = (("Faster", helps[:top], len(helps)), ("Saves memory, not faster", saves[:top], len(saves)),
                 ("Slower for you", slower[: max(3, top // 4)], len(slower)))  # fmt: skip
        for name, outcomes, count in parts:
            if outcomes:
                yield heading(name, f"{len(outcomes)} of {count}" if count > len(outcomes) else "")
                yield _table(outcomes, columns)
        if found.together:
            yield heading("Together", "best first")
            yield _table(found.together[:top], columns)
        if same:
            yield Text(f"\n{same} apply and change nothing here", style="dim")
        if found.refused and not why_not:
            yield Text(f"{len(found.refused)} do not apply: --why-not says why", style="dim")
        if found.refused and why_not:
            yield heading("Does not apply")
            table = grid(None, 3, 2)
            for o in found.refused:
                why, instead = o.refusal or ("", "")
                table.add_row(
                    Text(clean(o.names[0], 40)), Text(clean(why, 160)), Text(clean(instead, 120), style="dim")
                )
            yield table
        yield Text(
            "gain: work per second and device, after over before, with its central 80 %; memory: before over after",
            style="dim",
        )

    return Fitted(build)


def _table(outcomes: Sequence[Outcome], columns: int) -> Any:
    from rich.text import Text

    heads = [
        ("technique", "left"),
        ("gain", "right"),
        ("80 %", "right"),
        ("memory", "right"),
        ("then bound by", "left"),
        ("", "left"),
    ]
    table = listing(heads, ("",), columns)
    for o in outcomes:
        assert o.gain is not None
        assert o.after is not None
        speedup = float(o.gain.speedup)
        style = BAD if not o.fits or speedup < 0.995 else "bold green" if speedup > 1.005 else ""
        bound = str(o.after.bound)
        table.add_row(
            Text(" + ".join(clean(n, 50) for n in o.names), style="bold"), Text(factor_words(speedup), style=style),
            Text(range_words(float(o.gain.low), float(o.gain.high)), style="dim"), Text(factor_words(float(o.gain.memory))),
            Text(bound_label(bound), style=family(bound).term), Text(clean(notes_of(o), 300), style="dim"),
        )  # fmt: skip
    return table


def render_composition(shares: Sequence[Share], outcome: Outcome, before: Prediction) -> Any:
    """What several techniques do together, and each one's part."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        assert outcome.gain is not None
        assert outcome.after is not None
        yield Text(question_line(before), style="bold")
        whole = float(outcome.gain.speedup)
        line = Text("together ").append(f"{whole:.2f}×", style="bold")
        line.append(f" ({range_words(float(outcome.gain.low), float(outcome.gain.high))}), ")
        line.append(
            f"memory {format_bytes(float(before.memory.total))} → {format_bytes(float(outcome.after.memory.total))}, "
        )
        line.append(f"then bound by {bound_label(str(outcome.after.bound))}")
        yield line
        if not outcome.fits:
            yield Text("does not fit", style=BAD)
        yield heading("Each one's part", "parts multiply to the whole, whatever the order")
        table = listing(
            [("technique", "left"), ("part", "right"), ("alone", "right"), ("after the others", "right"), ("", "left")],
            (),
            columns,
        )
        most = max((abs(s.factor - 1) for s in shares), default=1.0) or 1.0
        for s in sorted(shares, key=lambda s: -s.factor):
            cells = Text(bar(abs(s.factor - 1) / most, 20, ascii_only), style="green" if s.factor >= 1 else "red")
            table.add_row(
                Text(s.name, style="bold"),
                Text(f"{s.factor:.2f}×"),
                Text(f"{s.alone:.2f}×"),
                Text(f"{s.last:.2f}×"),
                cells,
            )
        yield table
        quoted = [Text(f"{q.what}: {q.value} ({q.source})") for t in outcome.techniques for q in t.quality]
        if quoted:
            yield heading("Quality", "as quoted, never predicted")
            yield bullets(quoted)

    return Fitted(build)


def render_techniques(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The catalogue by family."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        for key, title in FAMILIES.items():
            members = [r for r in rows if r["family"] == key]
            if not members:
                continue
            yield heading(title, f"{key}, {len(members)}")
            table = grid(None, 2)
            for r in members:
                table.add_row(Text(r["name"], style="bold"), Text(clean(r["mechanism"], 300)))
            yield table
        yield Text(f"\n{len(rows)} techniques; `speedlight techniques NAME` shows one", style="dim")

    return Fitted(build)


def render_technique(r: Mapping[str, Any]) -> Any:
    """One technique in full."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        yield Text(r["title"], style="bold")
        yield Text(r["mechanism"])
        table = grid(None, 1)
        table.add_row(Text("family", style="dim"), Text(FAMILIES[r["family"]]))
        table.add_row(Text("edits", style="dim"), Text(", ".join(f"{e['slot']} ({e['stage']})" for e in r["edits"])))
        if r["papers"] or r["citation"]:
            table.add_row(
                Text("source", style="dim"), Text("; ".join(filter(None, [r["citation"], ", ".join(r["papers"])])))
            )
        table.add_row(Text("results", style="dim"), Text("the same up to rounding" if r["exact"] else "change"))
        yield table
        if r["parameters"]:
            yield heading("Parameters")
            table = grid(None, None, 1)
            for p in r["parameters"]:
                allowed = ", ".join(map(str, p["choices"]))
                means = f"{p['means']}{f' ({allowed})' if allowed else ''}"
                table.add_row(Text(p["name"], style="bold"), Text(f"{p['default']} {p['unit']}".strip()), Text(means))
            yield table
        if r["quality"]:
            yield heading("Quality", "as quoted, never predicted")
            yield bullets([Text(f"{q['what']}: {q['value']} ({q['source']})") for q in r["quality"]])

    return Fitted(build)
