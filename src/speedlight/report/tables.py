"""Terminal tables beside the explanation: comparisons, memory fits, listings of devices and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._foundation.quantity import GIB, format_bytes, format_percent, format_time
from ..engine.answers.prediction import Prediction
from .console import BAD, Fitted, bar, bullets, grid, heading, listing
from .facts import Memory, levers_of, memory_from, memory_of, reached
from .theme import GRADE_SYMBOLS, family
from .view import UNKNOWN, clean, number, ranged, ratio, whole_number, worst
from .words import amount, devices_used, devices_words, rate, sparse


def render_compare(predictions: Sequence[Prediction]) -> Any:
    """Models × machines, fastest first; a dash stands for what is not known."""
    from rich.text import Text

    ordered = sorted(predictions, key=lambda p: t if (t := worst(p.time)) is not None else float("inf"))

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        models = {clean(p.model.get("id", "?"), 60) for p in ordered}
        priced = any(price_per_hour(p) is not None for p in ordered)
        wide = columns >= 100
        # Narrow tables put the machine under the model's name.
        heads = [("", "left")] if len(models) > 1 else []
        heads += [("machine", "left")] if wide or not heads else []
        heads += [("time", "right"), ("SOL %", "right"), ("bound", "left")]
        heads += [(_unit(ordered), "right")] + ([("per device", "right")] if wide else [])
        heads += [("memory", "right")] + ([("$/h", "right")] if priced else [])
        if len(models) == 1:
            yield heading(f"{models.pop()} · {clean(ordered[0].phase)}")
        table = listing(heads, ("", "machine"), columns)
        for p in ordered:
            memory = memory_of(p)
            bound = clean(p.bound, 40) if isinstance(p.bound, str) else UNKNOWN
            names = [Text(clean(p.model.get("id", "?"), 60))] if len(models) > 1 else []
            names.append(Text(devices_words(p)))
            cells = names if wide or len(names) == 1 else [Text("\n").join(names)]
            cells += [
                Text(ranged(p.time, format_time), style="bold"),
                Text(format_percent(reached(p), 0)),
                Text(bound, style=family(bound).term),
                Text(_figure(p.throughput.get("value"))),
            ]
            cells += [Text(_figure(p.throughput.get("per_device")))] if wide else []
            cells.append(_fits(memory))
            cells += [Text(_dollars(price_per_hour(p)))] if priced else []
            table.add_row(*cells)
        yield table

    return Fitted(build)


def price_per_hour(prediction: Prediction) -> float | None:
    """Dollars an hour of all devices in use, where the machine's price or the call's cost is known."""
    each, used = number(prediction.machine.get("usd_per_hour")), number(devices_used(prediction))
    if each is not None and used is not None:
        return each * used
    per_second = ratio(prediction.cost, prediction.time)
    return None if per_second is None else per_second * 3600


def _unit(predictions: Sequence[Prediction]) -> str:
    units = {clean(p.throughput.get("unit", ""), 20) for p in predictions}
    return units.pop() if len(units) == 1 else "rate"


def _figure(value: Any) -> str:
    return ranged(value, lambda v: rate(v, "").strip())


def _dollars(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}"


def _fits(memory: Memory) -> Any:
    from rich.text import Text

    if memory.fits is None or memory.headroom is None:
        return Text(UNKNOWN)
    if memory.fits:
        return Text(f"{format_bytes(memory.headroom)} free")
    return Text(f"{format_bytes(-memory.headroom)} over", style=BAD)


def render_fit(answer: Mapping[str, Any]) -> Any:
    """Whether it fits and how far: CONTRACT's fit object with the ledger in ``memory``."""
    from rich.text import Text

    memory = answer.get("memory") or {}
    ledger = memory_from(memory.get("by_class") or {}, memory.get("capacity"), answer.get("levers"))

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        by = number(answer.get("by"))
        fits = bool(answer.get("fits"))
        line = Text("fits" if fits else "does not fit", style="bold green" if fits else BAD)
        if by is not None:
            line.append(f", {format_bytes(abs(by))} {'free' if by >= 0 else 'too much'}")
        at = [f"{n} {whole_number(answer[n])}" for n in ("batch", "context") if number(answer.get(n)) is not None]
        if at:
            line.append(f"  at {', '.join(at)}", style="dim")
        yield line
        table = grid(None, None)
        for key, label in (
            ("largest_batch", "largest batch"),
            ("largest_context", "largest context"),
            ("users", "users at full context"),
        ):
            if number(answer.get(key)) is not None:
                table.add_row(Text(label, style="dim"), Text(whole_number(answer[key]), style="bold", justify="right"))
        yield table
        yield from ledger_bars(ledger, columns, ascii_only)
        if lines := levers_of(answer.get("levers")):
            yield heading("What would make it fit")
            yield bullets([Text(lever, style="green" if ": fits" in lever else "") for lever in lines])

    return Fitted(build)


def ledger_bars(memory: Memory, columns: int, ascii_only: bool) -> Iterable[Any]:
    """Bytes of one device by class, each against the capacity, and what is left or missing."""
    from rich.text import Text

    if not memory.classes:
        return
    note = "" if memory.fits is False else f"{format_bytes(memory.total)} of {format_bytes(memory.capacity)}"
    yield heading("Memory per device", note)
    whole = max(memory.capacity or 0.0, memory.total or 0.0) or 1.0
    cells = max(10, min(40, columns - 40))
    table = grid(None, None, None)
    for name, size in memory.classes:
        row = bar(size / whole, cells, ascii_only)
        table.add_row(Text(name), Text(format_bytes(size), justify="right"), Text(row, style="cyan"))
    if memory.headroom is not None:
        free = memory.headroom
        label, style = ("free", "dim") if free >= 0 else ("too much", BAD)
        table.add_row(
            Text(label, style=style), Text(format_bytes(abs(free)), style=style, justify="right"),
            Text(bar(abs(free) / whole, cells, ascii_only), style=style),
        )  # fmt: skip
    yield table


def render_devices(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The machine catalogue: ``id, name, kind, year, n_devices, memory, bandwidth, half_peak, fp8_peak, tdp, grade``."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        wide = columns >= 120
        heads = [("machine", "left")] + ([("name", "left")] if wide else [])
        heads += [
            ("year", "right"),
            ("GiB", "right"),
            ("TB/s", "right"),
            ("16-bit", "right"),
            ("fp8", "right"),
            ("W", "right"),
        ]
        table = listing([*heads, ("", "left")], ("name" if wide else "machine",), columns)
        for row in rows:
            count = number(row.get("n_devices")) or 1
            name = f"{count:.0f} × {clean(row.get('name', ''), 60)}" if count > 1 else clean(row.get("name", ""), 60)
            year = number(row.get("year"))
            cells = [Text(clean(row.get("id", "?"), 60), style="bold")] + ([Text(name)] if wide else [])
            cells += [
                Text(UNKNOWN if year is None else f"{year:.0f}", style="dim"),
                Text(_scaled(row.get("memory"), GIB)),
                Text(_scaled(row.get("bandwidth"), 1e12)),
                Text(_scaled(row.get("half_peak"), 1e12)),
                Text(_scaled(row.get("fp8_peak"), 1e12)),
                Text(_scaled(row.get("tdp"), 1.0), style="dim"),
                Text(GRADE_SYMBOLS.get(str(row.get("grade")), "?"), style="dim"),
            ]
            table.add_row(*cells)
        yield table
        yield Text("16-bit, fp8: dense matrix peaks of one device, TFLOP/s; last: weakest grade", style="dim")
        yield Text("  ".join(f"{symbol} {grade}" for grade, symbol in GRADE_SYMBOLS.items()), style="dim")

    return Fitted(build)


def render_models(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The bundled models: ``id, hub, family, params, active, kv_bytes_per_token, layers, max_context``."""
    from rich.text import Text

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        wide = columns >= 110
        heads = [("model", "left")] + ([("hub", "left"), ("family", "left")] if wide else [])
        heads += [
            ("params", "right"),
            ("active", "right"),
            ("KV/token", "right"),
            ("layers", "right"),
            ("context", "right"),
        ]
        table = listing(heads, ("hub" if wide else "model",), columns)
        for row in rows:
            cells = [Text(clean(row.get("id", "?"), 60), style="bold")]
            if wide:
                cells += [
                    Text(clean(row.get("hub") or UNKNOWN, 80)),
                    Text(clean(row.get("family") or UNKNOWN, 14), style="dim"),
                ]
            params, active = number(row.get("params")), number(row.get("active"))
            cells += [
                Text(amount(params)),
                Text(amount(active) if sparse(params, active) else "", style="dim"),
                Text(format_bytes(number(row.get("kv_bytes_per_token")))),
                Text(whole_number(row.get("layers"))),
                Text(whole_number(row.get("max_context"))),
            ]
            table.add_row(*cells)
        yield table

    return Fitted(build)


def _scaled(value: Any, unit: float) -> str:
    found = number(value)
    if found is None:
        return UNKNOWN
    scaled = found / unit
    return f"{scaled:,.0f}" if abs(scaled) >= 100 else f"{scaled:.3g}"
