"""A served load as text: what users see, what the engines do, whether the objectives hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._foundation.quantity import format_bytes, format_percent, format_time
from .words import rate

if TYPE_CHECKING:
    from ..engine.serving.simulate import Answer
    from ..techniques.served import ServedOutcome

NAMES = {
    "ttft": "time to first token",
    "tpot": "time per output token",
    "itl": "gap between tokens",
    "e2el": "end to end",
}
STATISTICS = ("mean", "p50", "p90", "p95", "p99")


def title(answer: Answer) -> str:
    """``llama-3.1-8b on 4 devices of dgx-h100, vllm@1``."""
    facts, machine = answer.facts, answer.facts["machine"]
    of = " devices of " if machine.get("device") not in (None, machine["id"]) else " × "
    return f"{facts['model']['id']} on {facts['devices']}{of}{machine['id']}, {facts['policy']}"


def load_words(answer: Answer) -> str:
    """The load in a line."""
    load, requests = answer.load, answer.run.requests
    if load.concurrency is not None:
        what = f"{load.concurrency} clients"
    elif load.arrivals is not None:
        what = f"{load.arrivals} at {requests.rate:.3g} requests/s"
    else:
        what = f"{load.rate:g} requests/s"
        what += ", Poisson" if load.burstiness == 1 else f", burstiness {load.burstiness:g}"
    return f"{what}; {len(requests):,} requests, {requests.prompt.mean():,.0f} → {requests.output.mean():,.0f} tokens"


def engine_words(answer: Answer) -> str:
    """The engines in a line."""
    facts = answer.facts
    split = f"{facts['prefill_replicas']} prefill + " if facts["prefill_replicas"] else ""
    degrees = " ".join(f"{k}{v}" for k, v in facts["parallel"].items() if v > 1)
    kv = facts["kv"]
    return (
        f"{split}{facts['replicas']} replica{'s' if facts['replicas'] > 1 else ''} {degrees}".rstrip()
        + f"; {facts['max_seqs']} sequences, {facts['token_budget']:,} tokens a step; "
        + f"KV cache {kv['tokens']:,} tokens ({format_bytes(kv['bytes'])} a device)"
    )


def verdicts(answer: Answer) -> list[tuple[str, bool]]:
    """Each objective in words, and whether it holds."""
    found = []
    for o in answer.metrics.get("objectives", ()):
        value = "nothing measured" if o["value"] is None else format_time(o["value"])
        found.append(
            (f"{o['metric'].upper()} {o['statistic']} {value}, bound {format_time(o['bound'])}", bool(o["holds"]))
        )
    return found


def figures(answer: Answer) -> list[tuple[str, str, str]]:
    """Label, value and detail of what people look at first."""
    m = answer.metrics
    found = [
        ("output", rate(m["output_throughput"], "tokens/s"), f"{rate(m['output_throughput_per_device'], 'tokens/s')} a device"),
        ("requests", rate(m["request_throughput"], "req/s"), f"{m['finished']:,} of {m['requests']:,} finished"),
        ("per user", rate(m["output_throughput_per_user"], "tokens/s"), "1 / mean TPOT"),
        ("in flight", f"{m['running_mean']:.1f}", f"{m['queue_mean']:.2f} waiting on average"),
        ("KV cache", format_percent(m["kv_peak"]), f"at its fullest; {m['preemptions']:,} preemptions"),
        ("engines busy", format_percent(m["utilisation"]), f"{m['steps']:,} steps"),
    ]  # fmt: skip
    if m.get("goodput") is not None:
        found.append(
            ("goodput", rate(m["goodput"], "req/s"), f"{format_percent(m['attainment'])} within every objective")
        )
    if answer.largest_rate is not None:
        found.append(("largest rate", rate(answer.largest_rate, "req/s"), "that holds the objectives"))
    return found


def render_simulate(answer: Answer) -> Any:
    """A rich renderable of the answer."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [
        Text(title(answer), style="bold"),
        Text(load_words(answer)),
        Text(engine_words(answer)),
        Text(""),
    ]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in STATISTICS:
        table.add_column(name, justify="right")
    for metric, words in NAMES.items():
        values = answer.metrics[metric]
        table.add_row(f"{words} ({metric.upper()})", *(format_time(values[s]) for s in STATISTICS))
    parts += [table, Text("")]
    for label, value, detail in figures(answer):
        parts.append(Text.assemble((f"{label:>13}  ", "dim"), (f"{value:<18}", "bold"), (detail, "dim")))
    for words, holds in verdicts(answer):
        parts.append(Text(f"{'holds' if holds else 'MISSED':>13}  {words}", style="" if holds else "red"))
    if answer.curve:
        parts += [Text(""), _curve(answer)]
    for note in answer.notes:
        parts.append(Text(f"note: {note}", style="dim"))
    assumed = [a for a in answer.assumptions if a.grade == "assumed"]
    parts.append(
        Text(
            f"{len(answer.assumptions)} assumptions, {len(assumed)} of them without a source (--json lists them)",
            style="dim",
        )
    )
    return Group(*parts)


def render_served(outcomes: Sequence[ServedOutcome], why_not: bool = False) -> Any:
    """What techniques would do to a load, and, where asked, why others do not apply."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("technique", "TTFT", "TPOT", "gap p99", "end to end", "tokens/s a device", "goodput a device", ""):
        table.add_column(name, justify="left" if name == "technique" else "right")
    for o in outcomes:
        if o.gain is not None and o.after is not None:
            g = o.gain
            cells = [_factor(v) for v in (g.ttft, g.tpot, g.gap, g.e2el, g.throughput, g.goodput)]
            table.add_row(o.name, *cells, "" if o.after.holds else "missed")
    parts: list[Any] = [Text("\nWhat would help, times better", style="bold"), table]
    refused = [o for o in outcomes if o.refusal is not None]
    if refused and not why_not:
        parts.append(Text(f"{len(refused)} do not apply (--json says why)", style="dim"))
    for o in refused if why_not else ():
        why, instead = o.refusal or ("", "")
        parts.append(Text(f"{o.name}: {why}" + (f" ({instead})" if instead else ""), style="dim"))
    return Group(*parts)


def _factor(value: float) -> str:
    return "" if value != value else f"{value:.2f}×"


def _curve(answer: Answer) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("requests/s", "served/s", "tokens/s", "TTFT p50", "TTFT p95", "TPOT p50", "TPOT p95", ""):
        table.add_column(name, justify="right")
    for row in answer.curve:
        table.add_row(
            f"{row['rate']:.3g}", f"{row['request_throughput']:.3g}", f"{row['output_throughput']:,.0f}",
            *(format_time(row[k]) for k in ("ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95")),
            "" if row["attainment"] is None else "holds" if row["holds"] else "missed",
        )  # fmt: skip
    return table
