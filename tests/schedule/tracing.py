"""Reading a trace back from its JSON, and what every trace must obey."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

NANOSECOND = 1e-3  # in the file's microseconds


def reread(text: str) -> dict[str, Any]:
    """The file as its reader sees it: {"step", "events", "tracks", "flows"}, checked against the format."""
    data = json.loads(text)
    assert set(data) == {"displayTimeUnit", "otherData", "traceEvents"}
    events = data["traceEvents"]
    assert {e["ph"] for e in events} <= {"M", "X", "s", "f"}
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    spans = [e for e in events if e["ph"] == "X"]
    assert all((e["pid"], e["tid"]) in named for e in spans), "a span on a track without a name"
    for end in "sf":
        numbers = [e["id"] for e in events if e["ph"] == end]
        assert len(numbers) == len(set(numbers)), "two flows of one number"
    return {
        "step": data["otherData"]["step_s"] * 1e6,
        "notes": data["otherData"]["notes"],
        "spans": spans,
        "names": named,
        "starts": {e["id"]: e for e in events if e["ph"] == "s"},
        "ends": {e["id"]: e for e in events if e["ph"] == "f"},
    }


def check_trace(text: str) -> dict[str, Any]:
    """Spans of a track do not overlap, flows resolve and never run backwards, the critical chain has no hole and is the step."""
    read = reread(text)
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for span in read["spans"]:
        assert span["ts"] >= 0
        assert span["dur"] >= 0
        tracks.setdefault((span["pid"], span["tid"]), []).append((span["ts"], span["ts"] + span["dur"]))
    for spans in tracks.values():
        spans.sort()
        for (_, end), (start, _) in pairwise(spans):
            assert start >= end - NANOSECOND / 2, "spans of a track overlap"
    assert read["starts"].keys() == read["ends"].keys(), "a flow without its other end"
    places = {(s["pid"], s["tid"], s["ts"]): s for s in read["spans"]}
    for number, start in read["starts"].items():
        end = read["ends"][number]
        source = places[start["pid"], start["tid"], start["ts"]]
        target = places[end["pid"], end["tid"], end["ts"]]
        assert (
            target["ts"] >= (source["ts"] if start["name"] == "launch" else source["ts"] + source["dur"]) - NANOSECOND
        )
    chain = sorted((s["ts"], s["ts"] + s["dur"]) for s in read["spans"] if s["args"]["critical"])
    shifted = any(
        "one after another" in note for note in read["notes"]
    )  # the chain is one rank's, which may start late
    at = chain[0][0] if shifted else 0.0
    first = at
    for start, end in chain:
        assert start == pytest.approx(at, abs=NANOSECOND), "a hole in the critical chain"
        at = end
    assert at - first == pytest.approx(read["step"], rel=1e-9, abs=NANOSECOND)
    assert sum(end - start for start, end in chain) == pytest.approx(read["step"], rel=1e-9, abs=NANOSECOND)
    assert shifted or max(s["ts"] + s["dur"] for s in read["spans"]) == pytest.approx(
        read["step"], rel=1e-9, abs=NANOSECOND
    )
    return read
