"""Engines of pipeline stages: batches in flight, by hand and by law."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from speedlight.serving.arrivals import closed, open_loop, with_prefix
from speedlight.serving.deployment import Deployment, Pool, Scaling
from speedlight.serving.policy import policies, policy
from speedlight.serving.requests import Requests
from speedlight.serving.simulate import Run, simulate
from speedlight.serving.steps import Capacity, HostTimes, StepTables, Table
from tests.serving.fakes import constant, deployments, eight_billion, loads


def parts(tables: StepTables, shares: tuple[float, ...]) -> tuple[StepTables, ...]:
    """Tables cut into stages with such shares of every step."""

    def part(table: Table, share: float) -> Table:
        return Table(table.x, table.y, table.seconds * share)

    return tuple(
        dataclasses.replace(
            tables, tokens=part(tables.tokens, s), decode=part(tables.decode, s), prefill=part(tables.prefill, s),
            adapters=part(tables.adapters, s),
        )
        for s in shares
    )  # fmt: skip


def piped(pool: Pool, *shares: float) -> Pool:
    return pool.replace(stages=parts(pool.tables, shares))


def cut(served_by: Deployment, *shares: float) -> Deployment:
    prefill = served_by.prefill and piped(served_by.prefill, *shares)
    return dataclasses.replace(served_by, engine=piped(served_by.engine, *shares), prefill=prefill)


def conserved(run: Run) -> None:
    done = np.isfinite(run.finished)
    assert np.all(done ^ run.refused), "every request ends once or is refused"
    assert run.blocks_left == 0
    assert run.most_blocks <= max(p.capacity.kv_blocks for p in run.deployment.pools)
    assert np.all(run.arrival[done] <= run.admitted[done])
    assert np.all(run.admitted[done] < run.first[done])
    assert np.all(run.first[done] <= run.finished[done])
    start = np.cumsum(run.requests.output) - run.requests.output
    for r in np.flatnonzero(done):
        times = run.token_times[start[r] : start[r] + run.requests.output[r]]
        assert times[0] == run.first[r]
        assert times[-1] == run.finished[r]
        assert np.all(np.diff(times) >= 0)


@settings(max_examples=400)  # batches that wait for each other's blocks are one in a thousand
@given(loads(), deployments(), st.integers(1, 4))
def test_nothing_is_lost(load: Requests, served_by: Deployment, stages: int) -> None:
    conserved(simulate(load, cut(served_by, *[1 / stages] * stages), keep_tokens=True))


def decided(load: Requests, served_by: Deployment, run: Run) -> bool:
    """Steps longer or shorter by rounding change nothing: no two things happen at once whose order says who is served first."""
    for nudge in (1 - 1e-11, 1 + 1e-11):
        engine = served_by.engine.replace(tables=parts(served_by.engine.tables, (nudge,))[0])
        other = simulate(load, dataclasses.replace(served_by, engine=engine))
        if other.counters != run.counters or not np.allclose(other.first, run.first, rtol=1e-8, equal_nan=True):
            return False
    return True


@settings(max_examples=80)
@given(loads(), deployments())
def test_one_stage_is_an_engine_without(load: Requests, served_by: Deployment) -> None:
    """Through the lanes' own code; batches are the same and times differ by rounding.

    One rank a pool: a router sees what a step of an engine without stages did as soon as it begins, here when it has ended. Steps
    of the two pools have no common measure, or they end at the same time but for rounding, which then says who is served first.
    """
    prefill = served_by.prefill
    if prefill is not None:
        prefill = prefill.replace(replicas=1, ranks=1, tables=parts(prefill.tables, (math.pi / 3,))[0])
    served_by = dataclasses.replace(served_by, engine=served_by.engine.replace(replicas=1, ranks=1), prefill=prefill)
    plain, one = simulate(load, served_by), simulate(load, cut(served_by, 1.0))
    assume(decided(load, served_by, plain))
    assert plain.counters == one.counters
    assert plain.steps == one.steps
    np.testing.assert_allclose(one.first, plain.first, rtol=1e-9)
    np.testing.assert_allclose(one.finished, plain.finished, rtol=1e-9)
    assert one.busy_seconds <= plain.busy_seconds * (1 + 1e-9), "the host's seconds are no stage's"


def test_two_batches_in_two_stages_by_hand() -> None:
    """Stages of 1 s. Both prompts pass at 0–2 and 1–3 s; tokens then come every 2 s, one sequence's a second after the other's."""
    pool = Pool(constant(2.0), policy("vllm@1"), Capacity(100), stages=parts(constant(2.0), (0.5, 0.5)))
    load = Requests(np.array([0.0, 0.0]), np.array([10, 10]), np.array([3, 3]))
    run = simulate(load, Deployment(pool), keep_tokens=True)
    assert run.token_times.tolist() == [2, 4, 6, 3, 5, 7]
    assert run.steps == 6
    assert run.busy_seconds == 6.0, "six steps of the slowest stage"


def test_the_slowest_stage_sets_the_pace_and_all_of_them_the_latency() -> None:
    """Stages of 1 and 3 s: 4 s to the first token; then each of two batches every 6 s, one or the other every 3."""
    pool = Pool(constant(4.0), policy("vllm@1"), Capacity(100), stages=parts(constant(4.0), (0.25, 0.75)))
    load = Requests(np.array([0.0, 0.0]), np.array([10, 10]), np.array([3, 3]))
    run = simulate(load, Deployment(pool), keep_tokens=True)
    assert run.token_times.tolist() == [4, 10, 16, 7, 13, 19]
    alone = simulate(load.replace(arrival=np.array([0.0, 100.0])), Deployment(pool), keep_tokens=True)
    assert alone.token_times.tolist()[:3] == [4, 8, 12], "one sequence waits for nobody"


def test_pieces_of_a_long_prompt_follow_each_other_through_the_stages() -> None:
    """Four pieces through four stages of 1 s: 4 + 3 s; where each waits for the one before it, 16 s."""
    load = Requests(np.array([0.0]), np.array([1000]), np.array([1]))
    found = {}
    for follow in (True, False):
        rules = policy("vllm@1").replace(pieces_follow=follow)
        pool = Pool(constant(4.0), rules, Capacity(100, 16, 8, 256), stages=parts(constant(4.0), (0.25,) * 4))
        found[follow] = simulate(load, Deployment(pool)).first.tolist()
    assert found == {True: [7.0], False: [16.0]}


def test_one_host_prepares_all_batches() -> None:
    """A step's host time of 1 s, stages of 0.25 s: four batches come one a second, not four."""
    slow = dataclasses.replace(constant(1.0), host=HostTimes(step=1.0))
    pool = Pool(slow, policy("vllm@1"), Capacity(100), stages=parts(slow, (0.25,) * 4))
    run = simulate(closed(4, 4, 10, 50), Deployment(pool))
    assert run.reached == pytest.approx(4 * 50 + 1, abs=1.0)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(policies()), st.integers(1, 6), st.integers(1, 60), st.integers(0, 9))
def test_never_above_n_times_an_engine_of_one(rules, stages: int, clients: int, seed: int) -> None:  # type: ignore[no-untyped-def]
    """Cut evenly and free of sends, n stages do no more than n engines that have a like share of the blocks each do, and a single
    request takes as long as on one engine."""
    room = Capacity(4000, 16, 64 * stages, 2048)
    whole = Pool(eight_billion(HostTimes()), rules.replace(batch_seqs=False), room)
    load = closed(clients, 3 * clients, 200, 30, spread=0.5, seed=seed)
    one = simulate(load, Deployment(whole))
    many = simulate(load, Deployment(piped(whole, *[1 / stages] * stages)))
    conserved_tokens = load.output.sum()
    assert conserved_tokens / many.reached <= stages * conserved_tokens / one.reached * (1 + 1e-9)
    alone = closed(1, 2, 200, 30)
    np.testing.assert_allclose(
        simulate(alone, Deployment(piped(whole, *[1 / stages] * stages))).finished,
        simulate(alone, Deployment(whole)).finished, rtol=1e-9,
    )  # fmt: skip


def test_prompts_keep_every_stage_busy_and_few_sequences_none() -> None:
    """Work that grows with tokens is shared by the stages; a step that reads its weights for few tokens is not: four batches of 16
    sequences take as long to pass four quarters as one of 64 takes to pass the whole."""
    pool = Pool(eight_billion(HostTimes()), policy("vllm@1"), Capacity(40000, 16, 64, 2048))
    split = piped(pool.replace(devices=4), *[0.25] * 4)

    def gain(load: Requests) -> float:
        one, four = simulate(load, Deployment(pool)), simulate(load, Deployment(split))
        return one.reached / four.reached

    assert 3.0 < gain(closed(64, 640, 2000, 2, spread=0.5, seed=1)) < 4.0
    assert 0.9 < gain(closed(64, 640, 50, 200, spread=0.5, seed=1)) < 1.2


def test_batches_in_flight_share_blocks_or_have_parts_of_their_own() -> None:
    """A prompt of 60 blocks on an engine of 100 with two batches: V1 holds it, V0's schedulers have 50 each."""
    load = Requests(np.array([0.0]), np.array([960]), np.array([5]))
    shared, apart = (
        simulate(load, Deployment(piped(Pool(constant(1.0), policy(p), Capacity(100)), 0.5, 0.5)))
        for p in ("vllm@1", "vllm@0")
    )
    assert not shared.refused[0]
    assert apart.refused[0]


def test_prompts_that_hold_each_others_blocks_are_relieved() -> None:
    """Two prompts of 90 blocks each, computed in pieces by two batches that share 100: one starts anew."""
    pool = Pool(eight_billion(), policy("vllm@1"), Capacity(100, 16, 8, 160))
    load = Requests(np.array([0.0, 0.0]), np.array([1400, 1400]), np.array([5, 5]))
    run = simulate(load, Deployment(piped(pool, 0.5, 0.5)), keep_tokens=True)
    conserved(run)
    assert run.counters["preemptions"] >= 1


def test_the_prefix_cache_is_one_for_all_batches() -> None:
    load = with_prefix(open_loop(20.0, 200, 300, 20, seed=2), 256, 1, 16)
    pool = Pool(eight_billion(), policy("vllm@1"), Capacity(4000, 16, 64, 2048))
    one, four = simulate(load, Deployment(pool)), simulate(load, Deployment(piped(pool, *[0.25] * 4)))
    assert four.counters["prompt_tokens_cached"] > 0.9 * one.counters["prompt_tokens_cached"] > 0


def test_engines_of_stages_come_and_go_whole() -> None:
    pool = piped(Pool(eight_billion(), policy("vllm@1"), Capacity(500, 16, 32, 1024), replicas=3), 0.5, 0.5)
    run = simulate(
        open_loop(60.0, 400, 200, 50, seed=1), Deployment(pool, scaling=Scaling(6, 1, 0.5)), keep_tokens=True
    )
    conserved(run)
    assert run.counters["replicas_started"] >= 1
    assert run.timeline[:, 4].max() <= 3
    assert run.replica_seconds <= 3 * run.reached * (1 + 1e-12)
