"""Corrupted, cut off, foreign and hostile files: one message, soon."""

import gzip
import json
import sqlite3
import time

import pytest

from speedlight._foundation.errors import BadFile
from speedlight.measurement.traces.read import read_trace
from speedlight.measurement.traces.served import is_served, read_served

from .traces import event, gpu_step, nsys, served, write


def chrome(tmp_path, text):
    path = tmp_path / "t.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


GOOD = json.dumps({"traceEvents": gpu_step()})
BAD = {
    "empty": "",
    "no JSON": "hello",
    "a number": "12",
    "another JSON": '{"a": 1}',
    "no list": '{"traceEvents": {}}',
    "events that are no objects": '{"traceEvents": [1, 2, 3]}',
    "cut off": GOOD[: len(GOOD) // 2],
    "cut off between events": GOOD[: GOOD.index("}, {") + 1],
    "no events": '{"traceEvents": []}',
    "nothing with a duration": '{"traceEvents": [{"ph": "i", "name": "x", "ts": 1}]}',
    "nested": '{"traceEvents": ' + "[" * 10_000_000,
    "nested in an event": '{"traceEvents": [{"ph": "X", "args": ' + '{"a":' * 10_000_000,
    "nested header": '{"x": ' + "[" * 10_000_000 + "]" * 10_000_000 + "}",
    "one endless string": '{"traceEvents": [{"ph": "X", "name": "' + "a" * 60_000_000 + '"}]}',
    "an endless number": '{"traceEvents": [{"ph": "X", "ts": ' + "9" * 100_000 + "}]}",
    "time is text": json.dumps({"traceEvents": [{**event("a", "kernel", 0, 1), "ts": "soon"}]}),
    "time is true": json.dumps({"traceEvents": [{**event("a", "kernel", 0, 1), "ts": True}]}),
    "time is infinite": '{"traceEvents": [{"ph": "X", "name": "a", "cat": "kernel", "ts": 1e999, "dur": 1}]}',
    "time is not a number": '{"traceEvents": [{"ph": "X", "name": "a", "cat": "kernel", "ts": NaN, "dur": 1}]}',
    "negative duration": json.dumps({"traceEvents": [event("a", "kernel", 5, -1)]}),
    "duration is a list": json.dumps({"traceEvents": [{**event("a", "kernel", 0, 1), "dur": [1]}]}),
    "binary": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_chrome_trace_is_refused_soon(tmp_path, name):
    begun = time.monotonic()
    with pytest.raises(BadFile) as caught:
        read_trace(chrome(tmp_path, BAD[name]))
    assert time.monotonic() - begun < 10
    assert len(str(caught.value)) < 500


def test_a_compressed_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(b'{"traceEvents": [')
        block = b" " * 2**22
        for _ in range(80):
            stream.write(block)
    with pytest.raises(BadFile, match="unfolds"):
        read_trace(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(GOOD.encode())[:-40])
    with pytest.raises(BadFile):
        read_trace(path)


def test_odd_but_harmless_things_are_read(tmp_path):
    events = [
        *gpu_step(),
        {"ph": "X", "name": None, "ts": 1e12, "args": "text"},
        {"ph": "E", "ts": 1e12},
        {"ph": "B", "ts": 1e12},
    ]
    assert len(read_trace(write(tmp_path / "t.json", events))) == len(gpu_step()) + 1
    assert len(read_trace(chrome(tmp_path, json.dumps(gpu_step())))) == len(gpu_step())
    assert len(read_trace(chrome(tmp_path, GOOD[:-2] + ",]}"))) == len(gpu_step())


def test_begin_and_end_make_an_event(tmp_path):
    pair = [
        {"ph": "B", "name": "gemm", "cat": "kernel", "ts": 5, "pid": 1, "tid": 1},
        {"ph": "E", "ts": 9, "pid": 1, "tid": 1},
    ]
    trace = read_trace(write(tmp_path / "t.json", pair))
    assert trace.duration.tolist() == pytest.approx([4e-6])


def test_a_value_across_chunks_is_read_whole(tmp_path, monkeypatch):
    from speedlight.measurement.traces import chrome as reader

    monkeypatch.setattr(reader, "CHUNK", 7)
    trace = read_trace(write(tmp_path / "t.json", gpu_step(), distributedInfo={"rank": 12, "world_size": 345}))
    assert (len(trace), trace.rank, trace.world) == (len(gpu_step()), 12, 345)


def test_bad_databases_are_refused(tmp_path):
    path = nsys(tmp_path / "cut.sqlite")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BadFile):
        read_trace(path)
    foreign = tmp_path / "foreign.sqlite"
    base = sqlite3.connect(foreign)
    base.execute("CREATE TABLE t (a)")
    base.commit()
    base.close()
    with pytest.raises(BadFile, match="no kernels"):
        read_trace(foreign)


def test_a_view_in_place_of_a_table_is_not_run(tmp_path):
    path = tmp_path / "view.sqlite"
    base = sqlite3.connect(path)
    base.execute(
        "CREATE VIEW CUPTI_ACTIVITY_KIND_KERNEL AS WITH RECURSIVE n(start) AS (SELECT 1 UNION ALL SELECT start + 1 FROM n) "
        "SELECT start, start + 1 AS end FROM n"
    )
    base.commit()
    base.close()
    with pytest.raises(BadFile, match="no kernels"):
        read_trace(path)


def test_a_backward_event_of_a_database_is_refused(tmp_path):
    path = nsys(tmp_path / "t.sqlite")
    base = sqlite3.connect(path)
    base.execute("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET end = start - 1")
    base.commit()
    base.close()
    with pytest.raises(BadFile, match="lasts from"):
        read_trace(path)


@pytest.mark.parametrize(
    "changes", [{"completed": 0}, {"duration": 0}, {"mean_ttft_ms": -1}, {"mean_tpot_ms": "fast"}, {"duration": True}]
)
def test_bad_benchmarks_are_refused(tmp_path, changes):
    path = served(tmp_path / "b.json", **changes)
    assert is_served(path)
    with pytest.raises(BadFile):
        read_served(path)


def test_missing_and_folders(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(BadFile):
            read_trace(path)
