"""Laws of the event loop: nothing is lost, memory is never exceeded, runs equal single steps to the last bit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.serving.arrivals import closed, open_loop, with_prefix
from speedlight.serving.deployment import Deployment, Pool, Speculation
from speedlight.serving.policy import policy
from speedlight.serving.requests import Requests
from speedlight.serving.simulate import Run, simulate
from speedlight.serving.steps import Capacity, HostTimes, StepShape
from tests.serving.fakes import constant, deployments, eight_billion, loads


def equal(a: Run, b: Run) -> bool:
    names = ("arrival", "admitted", "first", "finished", "preempted", "gap_counts", "token_times")
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in names) and a.steps == b.steps


@settings(max_examples=60)
@given(loads(), deployments())
def test_nothing_is_lost_and_runs_equal_single_steps(load: Requests, served_by: Deployment) -> None:
    run = simulate(load, served_by, keep_tokens=True)
    done = np.isfinite(run.finished)
    assert np.all(done ^ run.refused), "every request ends once or is refused"
    assert run.blocks_left == 0
    assert run.most_blocks <= max(p.capacity.kv_blocks for p in served_by.pools)
    assert np.all(run.arrival[done] <= run.admitted[done])
    assert np.all(run.admitted[done] < run.first[done])
    assert np.all(run.first[done] <= run.finished[done])
    start = np.cumsum(load.output) - load.output
    for r in np.flatnonzero(done):
        times = run.token_times[start[r] : start[r] + load.output[r]]
        assert times[0] == run.first[r]
        assert times[-1] == run.finished[r]
        assert np.all(np.diff(times) >= 0)
    assert equal(run, simulate(load, served_by, keep_tokens=True, one_by_one=True))


def heavy() -> tuple[Requests, Deployment]:
    """A thousand requests with shared beginnings on an engine too small for them."""
    load = with_prefix(open_loop(60.0, 1000, 300, 120, spread=0.9, seed=3), 128, 7, 16)
    return load, Deployment(Pool(eight_billion(), policy("vllm@1"), Capacity(700, 16, 64, 1024)))


def test_a_thousand_requests_with_preemption_and_prefix_hits_token_by_token() -> None:
    load, served_by = heavy()
    run = simulate(load, served_by, keep_tokens=True)
    assert run.counters["preemptions"] > 50
    assert run.counters["prompt_tokens_cached"] > 10_000
    assert equal(run, simulate(load, served_by, keep_tokens=True, one_by_one=True))
    assert equal(run, simulate(load, served_by, keep_tokens=True)), "the same question gives the same run"


def test_one_token_at_a_time_is_counted_by_hand() -> None:
    """Two requests, steps of 1 s: vLLM 1 puts both prompts in one step; the second of three tokens ends at 3 s."""
    load = Requests(np.array([0.0, 0.0]), np.array([10, 20]), np.array([3, 5]))
    run = simulate(load, Deployment(Pool(constant(1.0), policy("vllm@1"), Capacity(100))), keep_tokens=True)
    assert run.token_times.tolist() == [1, 2, 3, 1, 2, 3, 4, 5]
    assert run.steps == 5
    assert run.gap_counts.sum() == 6


def test_prompts_go_first_where_the_policy_says_so() -> None:
    """vLLM 0: a prompt that comes at 2.5 s runs alone from 3 to 4 s, and the other request's gap shows it."""
    load = Requests(np.array([0.0, 2.5]), np.array([10, 10]), np.array([5, 2]))
    run = simulate(load, Deployment(Pool(constant(1.0), policy("vllm@0"), Capacity(100))), keep_tokens=True)
    assert run.token_times.tolist() == [1, 2, 3, 5, 6, 4, 5]


@pytest.mark.parametrize(("acceptance", "steps"), [(1.0, 7), (0.0, 20)])
def test_a_verification_costs_its_tokens_and_their_logits(acceptance: float, steps: int) -> None:
    """21 tokens after the prompt's: with two drafts a step that are all kept seven steps (of 3, 3 … and 2), else one each."""
    tables = eight_billion(HostTimes())
    load = Requests(np.array([0.0]), np.array([100]), np.array([21]))
    drafting = Pool(tables, policy("vllm@1"), Capacity(100), speculation=Speculation(2, acceptance))
    run = simulate(load, Deployment(drafting), keep_tokens=True)
    assert run.steps == 1 + steps
    assert len(np.unique(run.token_times)) == 1 + steps
    shape = StepShape.decode(1, 100.0, drafted=2)
    assert (shape.tokens, shape.rows) == (3, 3)
    second = run.token_times[np.searchsorted(run.token_times, run.token_times[0], "right")]
    assert second - run.token_times[0] == pytest.approx(float(tables.step_time(shape)))


@settings(max_examples=20)
@given(st.integers(1, 5), st.floats(0.0, 0.95), st.integers(0, 99))
def test_drafting_adds_as_many_tokens_as_expected(drafted: int, acceptance: float, seed: int) -> None:
    """(1 − a^(k+1)) / (1 − a) a step over many steps (Leviathan et al. 2023, eq. 1), never fewer than one or more than k + 1."""
    speculation = Speculation(drafted, acceptance)
    load = Requests(np.zeros(8), np.full(8, 16), np.full(8, 500))
    pool = Pool(constant(1.0), policy("vllm@1"), Capacity(1000), speculation=speculation)
    run = simulate(load, Deployment(pool), seed=seed)
    each = 499 / (run.finished - run.first)  # steps of a second
    assert np.all((each >= 1) & (each <= drafted + 1))
    assert each.mean() == pytest.approx(speculation.kept, rel=0.1)


def test_long_prompts_are_cut_by_the_budget() -> None:
    load = Requests(np.array([0.0]), np.array([1000]), np.array([1]))
    chunked = simulate(load, Deployment(Pool(constant(1.0), policy("vllm@1"), Capacity(100, 16, 8, 256))))
    assert chunked.first.tolist() == [4.0]
    whole = simulate(load, Deployment(Pool(constant(1.0), policy("tensorrt-llm"), Capacity(100, 16, 8, 256))))
    assert whole.first.tolist() == [1.0]


def test_a_client_is_seen_a_step_later_by_an_overlapping_scheduler() -> None:
    load = closed(2, 4, 8, 4).replace(output=np.array([2, 6, 2, 2]))
    plain = simulate(load, Deployment(Pool(constant(1.0), policy("vllm@1"), Capacity(100))))
    ahead = simulate(load, Deployment(Pool(constant(1.0), policy("vllm@1-async"), Capacity(100))))
    assert plain.admitted[2] == 2.0
    assert ahead.admitted[2] == 3.0


def test_no_evict_never_preempts_and_max_utilization_does() -> None:
    load = closed(40, 120, 100, 200, spread=0.5)
    room = Capacity(300, 16, 64, 1024)
    runs = {p: simulate(load, Deployment(Pool(eight_billion(), policy(p), room))) for p in
            ("tensorrt-llm@1", "tensorrt-llm@1-max-utilization", "sglang@0.4", "vllm@0")}  # fmt: skip
    assert runs["tensorrt-llm@1"].counters["preemptions"] == 0
    assert runs["tensorrt-llm@1-max-utilization"].counters["preemptions"] > 0
    assert runs["vllm@0"].counters["preemptions"] > runs["sglang@0.4"].counters["preemptions"]


def test_what_an_engine_can_never_hold_is_refused() -> None:
    load = Requests(np.array([0.0, 1.0]), np.array([5000, 10]), np.array([5, 5]))
    run = simulate(load, Deployment(Pool(constant(1.0), policy("vllm@1"), Capacity(100))))
    assert run.refused.tolist() == [True, False]
    assert np.isfinite(run.finished[1])


@pytest.mark.parametrize("name", ["vllm@0", "vllm@1", "sglang@0.4", "tensorrt-llm@1"])
def test_steps_cost_what_the_tables_say(name: str) -> None:
    """One request alone: its times are sums of the tables' own answers."""
    from speedlight.serving.steps import StepShape

    tables, isl, osl = eight_billion(), 700, 50
    run = simulate(closed(1, 1, isl, osl), Deployment(Pool(tables, policy(name), Capacity(1000))))
    shapes = [StepShape.prefill(1, isl), *(StepShape.decode(1, isl + k) for k in range(osl - 1))]
    host = 0.0 if policy(name).overlap else float(tables.host_seconds(StepShape.decode(1, 1)))
    seconds = [float(tables.step_time(s)) + host for s in shapes]
    assert run.first[0] == pytest.approx(seconds[0], rel=1e-12)
    assert run.finished[0] == pytest.approx(sum(seconds), rel=1e-12)


def digest(load: Requests, served_by: Deployment) -> str:
    run = simulate(load, served_by)
    return hashlib.sha256(b"".join(a.tobytes() for a in (run.first, run.finished, run.gap_counts))).hexdigest()


def test_python_and_numba_agree_to_the_last_bit() -> None:
    pytest.importorskip("numba")
    code = "from tests.serving.test_loop import digest, heavy; print(digest(*heavy()))"
    other = {**os.environ, "SPEEDLIGHT_NO_NUMBA": "" if os.environ.get("SPEEDLIGHT_NO_NUMBA") else "1"}
    answer = subprocess.run([sys.executable, "-c", code], env=other, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == digest(*heavy())
