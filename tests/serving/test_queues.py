"""Limits that queueing theory knows, and a slow reference simulator that shares no code."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.serving.arrivals import closed, open_loop
from speedlight.serving.deployment import Deployment, Pool
from speedlight.serving.metrics import latencies, summary
from speedlight.serving.policy import policy
from speedlight.serving.requests import Requests
from speedlight.serving.simulate import simulate
from speedlight.serving.steps import Capacity, StepShape
from tests.serving.fakes import constant, eight_billion


def waits(arrival: np.ndarray) -> np.ndarray:
    """Lindley's recursion for services of one second: what each waits for is what the one before leaves."""
    found = np.zeros(len(arrival))
    for i, gap in enumerate(np.diff(arrival), 1):
        found[i] = max(found[i - 1] + 1.0 - gap, 0.0)
    return found


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_at_a_time_with_equal_service_is_an_md1_queue(load: float) -> None:
    """Every wait is Lindley's, and so many of them come to the mean of M/D/1: ρ / (2 (1 − ρ)) services (Pollaczek and Khinchine)."""
    served_by = Deployment(Pool(constant(1.0), policy("vllm@1"), Capacity(100, 16, 1, 256)))
    run = simulate(open_loop(load, 3000, 10, 1, seed=1), served_by)
    assert run.first - run.arrival - 1.0 == pytest.approx(waits(run.arrival), abs=1e-8)
    many = waits(open_loop(load, 60_000, 10, 1, seed=1).arrival)
    assert many.mean() == pytest.approx(load / (2 * (1 - load)), rel=0.06)


def test_little() -> None:
    """In flight = arrival rate × time in system; of a closed loop it is the number of clients."""
    served_by = Deployment(Pool(eight_billion(), policy("vllm@1"), Capacity(20000)))
    found = summary(simulate(closed(24, 3000, 500, 100, spread=0.5), served_by))
    assert found["request_throughput"] * found["e2el"]["mean"] == pytest.approx(24, rel=0.02)
    assert found["queue_mean"] + found["running_mean"] == pytest.approx(24, rel=0.02)


def test_two_replicas_share_a_load() -> None:
    one = Pool(eight_billion(), policy("vllm@1"), Capacity(20000))
    load = open_loop(30.0, 3000, 500, 100)
    alone, both = (summary(simulate(load, Deployment(one.replace(replicas=n)))) for n in (1, 2))
    half = summary(simulate(open_loop(15.0, 3000, 500, 100), Deployment(one)))
    assert both["tpot"]["mean"] < alone["tpot"]["mean"]
    assert both["tpot"]["mean"] == pytest.approx(half["tpot"]["mean"], rel=0.03)


def reference(load: Requests, served_by: Deployment) -> tuple[np.ndarray, np.ndarray]:
    """vLLM 1's rules written down again as SimPy processes with lists: (first tokens, ends)."""
    simpy = pytest.importorskip("simpy")
    pool = served_by.engine
    tables, room = pool.tables, pool.capacity
    env = simpy.Environment()
    waiting: list[int] = []
    running: list[int] = []
    state = [{"computed": 0, "generated": 0} for _ in range(len(load))]
    first, end = np.full(len(load), np.nan), np.full(len(load), np.nan)
    bell = [env.event()]

    def blocks(tokens: int) -> int:
        return -(-tokens // room.block_size)

    def clients():  # type: ignore[no-untyped-def]
        for r in range(len(load)):
            yield env.timeout(load.arrival[r] - env.now)
            waiting.append(r)
            if not bell[0].triggered:
                bell[0].succeed()

    def goal(r: int) -> int:
        return int(load.prompt[r]) + state[r]["generated"]

    def engine():  # type: ignore[no-untyped-def]
        while True:
            if not running and not waiting:
                bell[0] = env.event()
                yield bell[0]
            yield env.timeout(0)  # arrivals of this very moment come first
            used = lambda: sum(blocks(state[r]["computed"]) for r in running)  # noqa: E731
            plan: dict[int, int] = {}
            preempted = False
            decoding = [r for r in running if goal(r) - state[r]["computed"] == 1 and state[r]["generated"]]
            while (
                used() + sum(blocks(state[r]["computed"] + 1) - blocks(state[r]["computed"]) for r in decoding)
                > room.kv_blocks
            ):
                victim = running.pop()
                preempted = True
                state[victim]["computed"] = 0
                waiting.insert(0, victim)
                decoding = [r for r in decoding if r != victim]
            for r in decoding:
                plan[r] = 1
            left = room.token_budget - len(decoding)

            def held(plan: dict[int, int] = plan) -> int:
                return sum(blocks(state[r]["computed"] + plan.get(r, 0)) for r in running)

            for r in [r for r in running if r not in decoding]:
                size = min(goal(r) - state[r]["computed"], left)
                if held() - blocks(state[r]["computed"]) + blocks(state[r]["computed"] + size) <= room.kv_blocks:
                    plan[r] = size
                    left -= size
            while waiting and left > 0 and len(running) < room.max_seqs and not preempted:
                r = waiting[0]
                size = min(goal(r), left)
                if held() + blocks(size) > room.kv_blocks:
                    break
                waiting.pop(0)
                running.append(r)
                plan[r] = size
                left -= size
            context = sum(state[r]["computed"] for r in decoding)
            prompts = [r for r in plan if r not in decoding]
            new = sum(plan[r] for r in prompts)
            pairs = sum(plan[r] * state[r]["computed"] + plan[r] * (plan[r] + 1) / 2 for r in prompts)
            shape = StepShape(len(decoding) + new, len(decoding), context, 0, pairs, 0, len(prompts), new)
            yield env.timeout(float(tables.device_seconds(shape)) + float(tables.host_seconds(shape)))
            for r, size in plan.items():
                state[r]["computed"] += size
                if state[r]["computed"] == goal(r):
                    state[r]["generated"] += 1
                    if state[r]["generated"] == 1:
                        first[r] = env.now
                    if state[r]["generated"] == load.output[r]:
                        end[r] = env.now
                        running.remove(r)

    env.process(clients())
    env.process(engine())
    env.run(until=float(load.arrival[-1]) + 4000.0)
    return first, end


@pytest.mark.parametrize(("rate", "blocks", "budget"), [(4.0, 4000, 2048), (30.0, 4000, 512), (30.0, 250, 512)])
def test_agrees_with_a_reference_on_simpy(rate: float, blocks: int, budget: int) -> None:
    load = open_loop(rate, 150, 200, 60, spread=0.8, seed=5)
    served_by = Deployment(
        Pool(eight_billion(), policy("vllm@1").replace(prefix_caching=False), Capacity(blocks, 16, 48, budget))
    )
    run = simulate(load, served_by)
    first, end = reference(load, served_by)
    assert (run.counters["preemptions"] > 0) == (blocks == 250)
    np.testing.assert_allclose(run.first, first, rtol=1e-9)
    np.testing.assert_allclose(run.finished, end, rtol=1e-9)


def test_latencies_contain_the_way_to_the_client() -> None:
    from speedlight.serving.steps import HostTimes

    load = closed(1, 3, 100, 10)
    near = simulate(load, Deployment(Pool(eight_billion(HostTimes()), policy("vllm@1"), Capacity(1000))))
    far = simulate(
        load, Deployment(Pool(eight_billion(HostTimes(request=0.01, stream=0.002)), policy("vllm@1"), Capacity(1000)))
    )
    assert latencies(far).ttft == pytest.approx(latencies(near).ttft + 0.012)
    assert latencies(far).tpot == pytest.approx(latencies(near).tpot)
    assert far.reached == pytest.approx(near.reached + 2 * 0.012)
