"""A diagnosed trace in the terminal: where the time went, kernels beside their limits, what would help most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._foundation.quantity import format_percent, format_time
from .console import Fitted, bar, bullets, flowed, grid, heading, listing, stacked
from .theme import FAMILIES, bound_label, family
from .view import clean

CAUSES = {
    "compute": ("computing", "matrix"), "communication": ("messages nothing hides", "link"), "copies": ("copies", "slow"),
    "data_loading": ("waiting for data", "waste"), "synchronisation": ("waiting for results", "latency"),
    "host": ("host: interpreter, dispatch, launches", "launch"),
}  # fmt: skip
SHOWN = 3


def render_diagnosis(answer: Mapping[str, Any], width: int | None = None) -> Any:
    """A rich renderable of ``diagnose``'s object: one trace, a set of ranks, or a server's benchmark."""

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        if "served" in answer:
            yield from _served(answer)
            return
        for trace in answer["traces"]:
            yield from _trace(trace, columns, ascii_only)
        if answer.get("ranks"):
            yield from _ranks(answer["ranks"])
        if answer.get("predicted"):
            yield from _predicted(answer["predicted"])
        if answer.get("difference"):
            yield from _difference(answer["difference"], columns)

    return Fitted(build, width)


def _trace(trace: Mapping[str, Any], columns: int, ascii_only: bool) -> Iterable[Any]:
    from rich.text import Text

    rank = "" if trace["rank"] is None else f" · rank {trace['rank']} of {trace['world']}"
    steps = f" · {trace['steps']} steps" if trace["steps"] else ""
    yield heading(
        f"{clean(trace['source'], 60)}{rank} · {format_time(trace['window'])}{steps}", f"on {trace['machine']}"
    )
    shares = {cause: seconds / trace["window"] for cause, seconds in trace["seconds"].items() if seconds > 0}
    styles = {cause: FAMILIES[CAUSES[cause][1]].term for cause in shares}
    yield stacked([(share, styles[cause]) for cause, share in shares.items()], columns, ascii_only)
    entries = []
    for number, (cause, share) in enumerate(shares.items()):
        mark = Text(chr(65 + number) if ascii_only else "■", style=styles[cause])
        entries.append(
            mark.append(f" {CAUSES[cause][0]} ", style="default").append(format_percent(share), style="bold default")
        )
    yield from flowed(entries, columns)
    yield Text()
    yield _verdict(trace)
    yield from _classes(trace, columns, ascii_only)
    yield from _changes(trace["changes"][:SHOWN])
    if trace["notes"]:
        yield Text()
        yield bullets([Text(note, style="dim") for note in trace["notes"]])


def _verdict(trace: Mapping[str, Any]) -> Any:
    from rich.text import Text

    first = trace["first"]
    if first == "compute":
        return Text("Kernels fill the time: what is left to gain is in them.", style="bold")
    seconds = trace["seconds"][first]
    return Text.assemble(
        "First cause: ", (CAUSES[first][0], f"bold {FAMILIES[CAUSES[first][1]].term}"),
        f", {format_time(seconds)} or {format_percent(seconds / trace['window'])} of the time.",
    )  # fmt: skip


def _classes(trace: Mapping[str, Any], columns: int, ascii_only: bool) -> Iterable[Any]:
    from rich.text import Text

    shown = [c for c in trace["classes"] if c["busy"] > 0.002 * trace["window"]][:12]
    if not shown:
        return
    yield heading("Kernels", "time taken, expected of this machine, and its speed of light where shapes are recorded")
    heads = [
        ("", "left"),
        ("calls", "right"),
        ("time", "right"),
        ("share", "left"),
        ("expected", "right"),
        ("limit", "right"),
    ]
    table = listing([*heads, ("bound", "left"), ("most in", "left")], ("", "most in"), columns)
    for each in shown:
        known = each["known"] > 0.5 * each["busy"]
        table.add_row(
            Text(each["sort"]), Text(f"{each['calls']:,}"), Text(format_time(each["busy"]), style="bold"),
            Text(bar(each["busy"] / trace["window"], 10, ascii_only)),
            Text(format_time(each["expected"]) if known else "–"), Text(format_time(each["limit"]) if known else "–"),
            Text(bound_label(each["bound"]) if known else "", style=family(each["bound"]).term),
            Text(clean(each["largest"], 40), style="dim"),
        )  # fmt: skip
    yield table


def _changes(changes: Sequence[Mapping[str, Any]]) -> Iterable[Any]:
    from rich.text import Text

    if not changes:
        return
    yield heading("What would help most")
    table = grid(None, 1)
    for change in changes:
        words = Text(change["what"]).append(f"\n{change['why']}", style="dim")
        table.add_row(Text(f"{change['gain']:+.0%} faster", style="bold green"), words)
    yield table


def _ranks(ranks: Mapping[str, Any]) -> Iterable[Any]:
    from rich.text import Text

    yield heading("Ranks")
    waited = max(ranks["waited"].values())
    yield Text(
        f"Rank {ranks['last']} comes last to its messages; the others wait for it, {format_time(waited)} at most: "
        f"{format_percent(ranks['waiting_share'])} of all time in messages."
    )


def _predicted(predicted: Mapping[str, Any]) -> Iterable[Any]:
    from rich.text import Text

    yield heading("The model's own step", "predicted for this machine")
    table = grid(None, None, 1)
    table.add_row(
        "measured", Text(format_time(predicted["measured"]), style="bold"), Text(predicted["per"], style="dim")
    )
    span = f"80 % interval {format_time(predicted['low'])} – {format_time(predicted['high'])}"
    table.add_row("predicted", Text(format_time(predicted["time"]), style="bold"), Text(span, style="dim"))
    table.add_row("speed of light", Text(format_time(predicted["limit"]), style="bold"), "")
    yield table


def _difference(difference: Mapping[str, Any], columns: int) -> Iterable[Any]:
    from rich.text import Text

    per = "per step" if difference["per_step"] else "whole traces"
    yield heading(f"Against {clean(difference['against'], 60)}", per)
    table = listing([("", "left"), ("before", "right"), ("now", "right"), ("change", "right")], ("",), min(columns, 90))
    rows = [("all", difference["window"])]
    rows += [(CAUSES[c][0], pair) for c, pair in difference["seconds"].items() if pair["now"] or pair["before"]]
    rows += [(f"  {sort} kernels", pair) for sort, pair in difference["classes"].items()]
    least = 0.002 * max(difference["window"]["now"], difference["window"]["before"])
    for name, pair in rows:
        if max(pair["now"], pair["before"]) < least:
            continue
        style = "green" if pair["change"] < 0 else "red"
        sign = "−" if pair["change"] < 0 else "+"
        table.add_row(
            Text(name), Text(format_time(pair["before"])), Text(format_time(pair["now"])),
            Text(sign + format_time(abs(pair["change"])), style=style if abs(pair["change"]) > least else ""),
        )  # fmt: skip
    yield table


def _served(answer: Mapping[str, Any]) -> Iterable[Any]:
    from rich.text import Text

    served = answer["served"]
    yield heading(
        f"{clean(served['model'] or 'a server', 60)} · {served['requests']:,} requests",
        f"{served['inputs']:.0f} → {served['outputs']:.0f} tokens, {served['in_flight']:.1f} in flight on average",
    )
    table = grid(None, None, 1)
    for metric, words in (("ttft", _TTFT), ("tpot", _TPOT)):
        table.add_row(Text(f"mean {metric}", style="bold"), Text(format_time(served[metric][0]), style="bold"), "")
        for part, seconds in answer[metric].items():
            table.add_row(f"  {part}", format_time(seconds), Text(words[part], style="dim"))
    yield table
    yield Text(
        f"Decode step at this load: {format_time(answer['decode'])} expected, {format_time(answer['limit'])} at the speed of "
        f"light ({bound_label(answer['bound'])}).", style="dim",
    )  # fmt: skip
    yield Text()
    yield Text(
        "First cause: " + answer["first"]
        if answer["first"]
        else "Nothing beside the model takes a tenth of the latency.",
        style="bold",
    )
    if answer["changes"]:
        yield heading("What would shorten a decode step")
        rows = grid(None, 1)
        for change in answer["changes"]:
            rows.add_row(
                Text(f"{1 / change['tpot_ratio'] - 1:+.0%} faster", style="bold green"),
                Text(f"{change['what']}: {change['why']}"),
            )
        yield rows


_TTFT = {"prefill": "one prompt alone", "waiting": "in the queue, and behind other prompts"}
_TPOT = {
    "decode": "expected of the model at this load", "engine": "the engine's steps beyond that",
    "interference": "steps that carried prompts too (mean less median)",
}  # fmt: skip
