"""A trace as Chrome trace-event JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing load.

Format: "Trace Event Format" (Google, 2016): complete events ``X``, flow events ``s`` and ``f``, metadata ``M``; microseconds.
Times lie on a grid of a nanosecond, Perfetto's own; an event's length is the difference of its rounded ends, so that touching
spans touch and a chain's lengths add up to its ends' difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .._foundation.version import VERSION
from ..schedule.trace import Trace

# Names of Chrome's palette: one colour a sort of work.
COLOURS = {
    "forward": "thread_state_running", "backward": "rail_response", "weight": "rail_animation", "send": "thread_state_iowait",
    "collective": "thread_state_iowait", "wait": "grey", "gap": "grey",
}  # fmt: skip


def chrome_json(trace: Trace) -> str:
    """The file's text: one JSON object, an event a line."""
    head = {"schema": 1, "speedlight": VERSION, "step_s": trace.time, "notes": list(trace.notes)}
    encode = json.JSONEncoder(
        allow_nan=False, separators=(",", ":"), check_circular=False
    ).encode  # made once: three times faster
    lines = ",\n".join(map(encode, events(trace)))
    return f'{{"displayTimeUnit":"ms","otherData":{json.dumps(head, allow_nan=False)},"traceEvents":[\n{lines}\n]}}\n'


def events(trace: Trace) -> Iterator[dict[str, Any]]:
    """Every event: names of tracks, spans, flows."""
    groups: dict[str, int] = {}
    place: list[tuple[int, int]] = []
    for number, track in enumerate(trace.tracks):
        if track.group not in groups:
            pid = groups[track.group] = len(groups) + 1
            yield _named("process_name", pid, 0, name=track.group)
            yield _named("process_sort_index", pid, 0, sort_index=pid)
        pid = groups[track.group]
        place.append((pid, number + 1))
        yield _named("thread_name", pid, number + 1, name=track.name)
        yield _named("thread_sort_index", pid, number + 1, sort_index=number + 1)
    for span in trace.spans:
        pid, tid = place[span.track]
        start = _nanoseconds(span.start)
        event = {
            "ph": "X", "name": span.name, "cat": span.kind, "pid": pid, "tid": tid, "ts": start / 1000,
            "dur": (_nanoseconds(span.end) - start) / 1000, "args": {**span.facts, "critical": span.critical},
        }  # fmt: skip
        if span.kind in COLOURS:
            event["cname"] = COLOURS[span.kind]
        yield event
    for number, flow in enumerate(trace.flows):
        source, target = trace.spans[flow.source], trace.spans[flow.target]
        common = {"name": flow.name, "cat": "flow", "id": number + 1}
        for phase, span, more in (("s", source, {}), ("f", target, {"bp": "e"})):
            pid, tid = place[span.track]
            yield {"ph": phase, **more, **common, "pid": pid, "tid": tid, "ts": _nanoseconds(span.start) / 1000}


def _named(event: str, /, pid: int, tid: int, **arguments: Any) -> dict[str, Any]:
    return {"ph": "M", "name": event, "pid": pid, "tid": tid, "args": arguments}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
