"""Pictures of pipelines and of single devices: what is drawn is what is reported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.report.chrome import chrome_json
from speedlight.schedule.drawn import pipeline_trace
from speedlight.schedule.families import FAMILIES
from speedlight.schedule.pipeline import PipelineRun, StageClass
from speedlight.schedule.serial import serial
from speedlight.schedule.unrolled import Line, Stretch, Unrolled

from .test_pipeline import asked, pipelines
from .test_serial import BLOCKS
from .tracing import check_trace


@given(pipelines(), st.booleans())
@settings(max_examples=60)
def test_a_drawn_pipeline_is_the_reported_one(q: dict[str, Any], blocking: bool) -> None:
    trace = pipeline_trace(PipelineRun(tuple(q["classes"]), q["m"], q["name"], q["v"], q["send"], blocking))
    read = check_trace(chrome_json(trace))
    passes = 3 if FAMILIES[q["name"]].splits or FAMILIES[q["name"]].shares else 2
    assert sum(s["cat"] not in ("send", "wait") for s in read["spans"]) == passes * q["m"] * q["p"] * q["v"]
    if q["send"] == 0 or FAMILIES[q["name"]].flushes:  # ranks that start late may work for less long
        assert trace.time == pytest.approx(asked(q, blocking=blocking).time)


def test_a_message_is_a_span_between_two_flows() -> None:
    trace = pipeline_trace(PipelineRun((StageClass(2, 1.0, 2.0),), 1, send_s=0.5))
    assert [t.name for t in trace.tracks] == ["compute", "link to rank 1", "compute", "link to rank 0"]
    sends = [s for s in trace.spans if s.kind == "send"]
    assert [(s.start, s.end) for s in sends] == [(1.0, 1.5), (4.5, 5.0)]
    assert [f.name for f in trace.flows] == ["send", "receive"] * 2
    assert trace.time == 7.0


def test_the_chain_runs_along_a_link_that_is_busy() -> None:
    trace = pipeline_trace(PipelineRun((StageClass(2, 1.0, 1.0),), 4, "gpipe", send_s=3.0))
    check_trace(chrome_json(trace))
    assert sum(s.critical for s in trace.spans if s.kind == "send") == 8
    assert trace.time == (1 + 4 * 3 + 1) * 2


def test_of_many_ranks_the_ends_are_drawn_and_the_chain_is_whole() -> None:
    run = PipelineRun((StageClass(1, 1.2, 2), StageClass(30, 1, 2), StageClass(1, 1.5, 3)), 16, send_s=0.1)
    trace = pipeline_trace(run, most=500)
    read = check_trace(chrome_json(trace))
    groups = {t.group for t in trace.tracks}
    assert groups == {"rank 0", "rank 1", "rank 30", "rank 31", "critical chain"}
    assert any("4 of 32 ranks" in note for note in read["notes"])
    assert trace.time == pytest.approx(run.step().time)


@given(BLOCKS, st.floats(0, 10), st.booleans(), st.sampled_from([0, 5, 1000]))
def test_a_drawn_stream_is_the_folded_one(blocks: list[Any], start: float, inline: bool, most: int) -> None:
    """Kernel by kernel, or some blocks as one span: the step ends when the closed form says."""
    picture = Unrolled("gpu", most=most)
    lines = [
        Stretch(f"block {i}", count, tuple(Line(f"k{j}", "matmul", d, h) for j, (d, h) in enumerate(kernels)))
        for i, (count, kernels) in enumerate(blocks)
    ]
    picture.step(lines, start, inline=inline)
    expected = serial(blocks, start, inline=inline).time
    if not any(count for count, _ in blocks):
        return  # nothing runs: nothing to draw
    assert picture.at == pytest.approx(expected, rel=1e-9, abs=1e-9)
    check_trace(chrome_json(picture.trace()))


def test_a_waiting_device_hands_the_chain_to_the_host() -> None:
    picture = Unrolled("gpu")
    picture.step([Stretch("block", 3, (Line("k", "matmul", 1e-6, 5e-6),))])
    trace = picture.trace()
    chain = [(trace.tracks[s.track].name, s.name) for s in trace.spans if s.critical]
    assert chain == [("host issues", "k")] * 3 + [("kernels", "k")]
