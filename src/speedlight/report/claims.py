"""The ledger of claims for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..validation.ledger.ledger import Entry, PaperEntry, summary
from ..validation.ledger.verdicts import VERDICTS
from .console import Fitted, bullets, grid, heading, listing
from .theme import GRADE_SYMBOLS
from .view import UNKNOWN, clean

STYLES = {
    "reproduced": "bold green", "bounded": "green", "headroom": "cyan", "not explained": "red", "contradicted": "bold red",
    "not checkable": "dim",
}  # fmt: skip


def figure(value: Any) -> str:
    """A claimed or predicted figure, or its range."""
    if value is None:
        return UNKNOWN
    if isinstance(value, (tuple, list)):
        low, high = (figure(v) for v in value)
        return low if low == high else f"{low}–{high}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def render_ledger(entries: Sequence[PaperEntry]) -> Any:
    """All papers: a line each, and the counts."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        heads = [("paper", "left"), ("", "right"), ("family", "left"), ("status", "left"), ("verdicts", "left")]
        table = listing(heads, ("paper", "verdicts"), columns)
        for e in entries:
            counts = Counter(c.verdict.word for c in e.claims if c.found is not None)
            words = Text()
            for name in VERDICTS:
                if counts[name]:
                    words.append(f"{counts[name]} {name}  ", style=STYLES[name])
            if counts[None]:
                words.append(f"{counts[None]} predicted, figure kept apart", style="dim")
            if not counts:
                words.append(clean(e.paper.reason, 120), style="dim")
            table.add_row(
                Text(clean(e.paper.title, 80), style="bold"), Text(str(e.paper.relevance), style="dim"), Text(e.paper.kind),
                Text(e.status), words,
            )  # fmt: skip
        yield table
        yield from _counts(entries)
        yield Text("`speedlight claims ID` prints a paper's derivations in words", style="dim")

    return Fitted(build)


def _counts(entries: Sequence[PaperEntry]) -> Iterable[Any]:
    from rich.text import Text

    s = summary(entries)
    yield heading("Verdicts", f"{s['judged']} of {s['computed']} computed claims have a stated figure")
    table = grid(None, None, None)
    table.add_row(Text("", style="dim"), Text("setting stated", style="dim"), Text("something unstated", style="dim"))
    for name in VERDICTS:
        counts = [s[key].get(name, 0) for key in ("stated", "unstated")]
        if any(counts):
            table.add_row(Text(name, style=STYLES[name]), *(Text(str(c) if c else "", justify="right") for c in counts))
    yield table


def render_paper(e: PaperEntry) -> Any:
    """One paper: what it is here, and each claim's derivation in words."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        yield Text(clean(e.paper.title, 200), style="bold")
        line = f"{e.paper.kind}, relevance {e.paper.relevance}; here: {e.paper.role}"
        yield Text(line + (f" ({', '.join(e.paper.covers)})" if e.paper.covers else ""))
        if e.paper.reason:
            yield Text(clean(e.paper.reason, 400), style="dim")
        for c in e.claims:
            if c.found is not None or c.verdict.word is not None:
                yield from _claim(c)
        rest = [c for c in e.claims if c.found is None and c.verdict.word is None]
        if rest:
            yield heading("Quoted")
            yield bullets(
                [
                    Text(f"{c.claim.metric}: {figure(c.claim.claimed)} {clean(c.claim.context, 160)}".strip())
                    for c in rest
                ]
            )

    return Fitted(build)


def _claim(c: Entry) -> Iterable[Any]:
    from rich.text import Text

    word = c.verdict.word or "figure kept apart"
    title = (
        Text("\n")
        .append(c.claim.id.rpartition("#")[2] + "  ", style="dim")
        .append(clean(c.claim.metric, 120), style="bold")
    )
    title.append(f"  {word}", style=STYLES.get(word, "dim"))
    yield title
    form = {"up_to": "up to ", "at_least": "at least ", "at_most": "at most ", "law": "slope "}.get(c.claim.form, "")
    claimed = f"claimed {form}{figure(c.claim.claimed)}" + (
        f" over {clean(c.claim.baseline, 100)}" if c.claim.baseline else ""
    )
    yield Text("   " + claimed + (f"; {clean(c.claim.context, 160)}" if c.claim.context else ""), style="dim")
    if c.found is None:
        yield Text("   " + c.verdict.cause)
        return
    bound = "" if c.found.bound is None else f", at best {figure(c.found.bound)}"
    yield Text(f"   derived {figure([c.found.low, c.found.high])}{bound}: {clean(c.found.why, 600)}")
    if word not in ("reproduced", "bounded", "figure kept apart"):
        yield Text("   " + c.verdict.cause)
    inputs = ", ".join(
        f"{GRADE_SYMBOLS.get(g.grade, '?')} {g.what} {_value(g.value)}" for g in c.found.inputs
    )  # fmt: skip
    if inputs:
        yield Text("   from " + clean(inputs, 600), style="dim")


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def render_check(result: Mapping[str, Any]) -> Any:
    """A checked claim: how it was understood, what is derived, the verdict."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        claim = result["claim"]
        said = {k: v for k, v in claim.items() if k not in ("gain", "form")}
        form = {"up_to": "up to ", "at_least": "at least "}.get(claim["form"], "")
        yield Text(f"claimed: {form}{claim['gain']:g}×").append(
            " — " + ", ".join(f"{k} {_value(v)}" for k, v in said.items()), style="dim"
        )
        word = result["verdict"]
        yield Text(word, style=STYLES.get(word, ""))
        bound = "" if result["bound"] is None else f"; physics allows {result['bound']:.2f}×"
        yield Text(f"derived: {result['predicted'][0]:.2f}× to {result['predicted'][1]:.2f}×{bound}")
        yield Text(result["why"])
        left = [g for g in result["inputs"] if g["grade"] in ("unstated", "assumed")]
        if left:
            yield heading("Not said by the claim")
            yield bullets([Text(f"{g['what']}: {_value(g['value'])}") for g in left])

    return Fitted(build)
