"""Trace files: those people have, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from speedlight._foundation.errors import BadFile, BadInput
from speedlight.serving.arrivals import open_loop, sessions, with_prefix
from speedlight.serving.deployment import Deployment, Pool, Scaling
from speedlight.serving.metrics import parse_slo, summary
from speedlight.serving.policy import policy
from speedlight.serving.simulate import simulate
from speedlight.serving.steps import Capacity
from speedlight.serving.traces import read_trace
from tests.serving.fakes import eight_billion


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_published_forms(tmp_path: Path) -> None:
    azure = written(
        tmp_path,
        "a.csv",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
    )
    load = read_trace(azure)
    assert load.arrival == pytest.approx([0.0, 4.314579], abs=1e-6)
    assert (load.prompt.tolist(), load.output.tolist()) == ([374, 396], [44, 109])
    lines = [{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [7, 8, 9]},
             {"timestamp": 3000, "input_length": 1200, "output_length": 6, "hash_ids": [7, 8, 4]}]  # fmt: skip
    load = read_trace(written(tmp_path, "m.jsonl", "\n".join(map(json.dumps, lines))))
    assert load.arrival.tolist() == [0.0, 3.0]
    run = simulate(load, Deployment(Pool(eight_billion(), policy("vllm@1"), Capacity(1000))))
    assert run.counters["prompt_tokens_cached"] == 1024
    load = read_trace(written(tmp_path, "b.json", json.dumps({"input_lens": [5, 6], "output_lens": [7, 8]})))
    assert load.prompt.tolist() == [5, 6]
    assert "no arrival times" in load.notes[0]


HEAD = "arrived_at,num_prefill_tokens,num_decode_tokens\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "no rows"),
        ("a,b\n1,2\n", "no column of prompt tokens"),
        (HEAD + "0,1e9,5\n", "1e+09 tokens"),
        (HEAD + "nan,5,5\n,5,5\n0,5,5\n", "2 of 3 rows"),
        (HEAD + "0,many,5\n", "no numbers"),
        ("", "empty"),
    ],
)
def test_broken_ones_are_refused_with_a_message(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadFile) as found:
        read_trace(written(tmp_path, "t.csv", text))
    assert said in str(found.value)


def test_repairable_ones_are_repaired_and_say_so(tmp_path: Path) -> None:
    load = read_trace(written(tmp_path, "t.csv", HEAD + "3,30,5\n-2,20,5\n1,10,0\n0,5,5\n"))
    assert load.arrival.tolist() == [0.0, 2.0, 5.0]
    assert load.prompt.tolist() == [20, 5, 30]
    assert [n.split(":")[0] for n in load.notes] == [
        "1 of 4 rows left out",
        "rows were not in order of arrival",
        "times began at -2 s",
    ]


def test_a_file_of_two_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as stream:
        stream.truncate(2 << 30)
    with pytest.raises(BadFile, match="at most"):
        read_trace(path)


def test_bursts_keep_the_rate() -> None:
    load = open_loop(5.0, 20_000, 10, 10, burstiness=0.25, seed=2)
    assert load.rate == pytest.approx(5.0, rel=0.05)
    assert np.std(np.diff(load.arrival)) == pytest.approx(0.2 / np.sqrt(0.25), rel=0.05)
    assert load.at_rate(50.0).rate == pytest.approx(50.0)


def test_conversations_wait_for_their_answers_and_hit_the_cache() -> None:
    load = sessions(20, 4, 2.0, 200, 50, pause=3.0)
    run = simulate(load, Deployment(Pool(eight_billion(), policy("vllm@1"), Capacity(20_000))))
    first, second = run.finished[:20], run.arrival[20:40]
    assert second == pytest.approx(first + 3.0)
    assert run.counters["prompt_tokens_cached"] > 0.6 * load.prompt[20:].sum()


def test_shared_beginnings_are_computed_once_a_group() -> None:
    load = with_prefix(open_loop(2.0, 100, 600, 10), 512, 4, 16)
    run = simulate(load, Deployment(Pool(eight_billion(), policy("vllm@1"), Capacity(20_000))))
    computed = run.counters["prompt_tokens_computed"]
    assert 100 * 88 + 4 * 512 <= computed <= 100 * 88 + 8 * 512


def test_replicas_come_when_needed_and_go() -> None:
    pool = Pool(eight_billion(), policy("vllm@1"), Capacity(20_000), replicas=4)
    rush = open_loop(30.0, 900, 400, 200)
    calm = open_loop(1.0, 100, 400, 200)
    load = rush.replace(
        arrival=np.concatenate([rush.arrival, rush.arrival[-1] + 20 + calm.arrival]),
        prompt=np.concatenate([rush.prompt, calm.prompt]), output=np.concatenate([rush.output, calm.output]),
    )  # fmt: skip
    run = simulate(load, Deployment(pool, scaling=Scaling(up=16, down=4, cold_start=2.0)))
    assert run.counters["replicas_started"] == 3
    assert run.timeline[:, 4].max() == 4
    assert run.timeline[-1, 4] == 1
    assert run.replica_seconds < 4 * run.reached


def test_objectives() -> None:
    found = parse_slo("ttft:p95<2s,tpot<50ms, e2el:mean<=1.5s")
    assert [(o.metric, o.statistic, o.bound) for o in found] == [
        ("ttft", "p95", 2.0),
        ("tpot", "p95", 0.05),
        ("e2el", "mean", 1.5),
    ]
    for text in ("ttft", "ttft:p95>2s", "x<1s", "", "ttft:p95<0s", "ttft:p95<2kg"):
        with pytest.raises(BadInput):
            parse_slo(text)
    run = simulate(open_loop(2.0, 50, 300, 30), Deployment(Pool(eight_billion(), policy("vllm@1"), Capacity(5000))))
    metrics = summary(run, parse_slo("ttft:p50<1us,tpot:p99<10s"))
    assert [o["holds"] for o in metrics["objectives"]] == [False, True]
    assert (metrics["goodput"], metrics["holds"]) == (0.0, False)
