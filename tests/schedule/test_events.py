"""The event loop, and the closed forms of overlap and of repeated work against it."""

from __future__ import annotations

import importlib.util
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.report.chrome import chrome_json
from speedlight.schedule.cycles import Edge, Work, largest_cycle_mean, steady_step
from speedlight.schedule.events import Task, simulate
from speedlight.schedule.overlap import beside, chunked, streamed, two_batches

from .tracing import check_trace

SECONDS = st.floats(0.125, 4)
SHARE = st.sampled_from([0.0, 0.1, 0.25, 0.5])


def several(seed: int, n: int = 40) -> list[Task]:
    draw = random.Random(seed)
    return [
        Task(
            f"t{i}", draw.choice([0.125, 0.5, 1.0, draw.random()]), f"s{draw.randrange(4)}",
            {f"r{j}": draw.random() for j in range(3) if draw.random() < 0.5},
            tuple({draw.randrange(i) for _ in range(draw.randrange(3))}) if i else (), draw.random() < 0.3,
        )
        for i in range(n)
    ]  # fmt: skip


# ---- exact cases -------------------------------------------------------------------------------------------------------------


def test_a_stream_runs_in_order_and_waits_for_others() -> None:
    line = simulate(
        [
            Task("a", 1, "compute"),
            Task("b", 2, "compute"),
            Task("send", 4, "link", after=(0,)),
            Task("c", 1, "compute", after=(2,)),
        ]
    )
    assert line.start.tolist() == [0, 1, 1, 5]
    assert line.time == 6
    assert [line.tasks[i].name for i in line.critical()] == ["c", "send", "a"]


def test_a_firm_message_slows_the_product_beside_it() -> None:
    product, message = (
        Task("product", 1, "compute", {"sm": 1}),
        Task("reduce", 1, "link", {"sm": 0.2, "nvlink": 1}, firm=True),
    )
    assert simulate([product, message]).end.tolist() == [pytest.approx(1.2), 1.0]


def test_two_flows_share_a_link_fairly() -> None:
    flows = [Task("long", 1, "a", {"link": 1}), Task("short", 0.5, "b", {"link": 1})]
    assert simulate(flows).end.tolist() == [1.5, 1.0]
    thin = [
        Task("long", 1, "a", {"link": 1}),
        Task("thin", 1, "b", {"link": 0.5}),
    ]  # both at 2/3, then the rest of neither
    assert simulate(thin).end.tolist() == pytest.approx([1.5, 1.5])


def test_what_one_resource_holds_back_leaves_another_to_the_rest() -> None:
    """Max-min: x and y share the link half and half; z, alone on the disk beside y, gets what y cannot use."""
    tasks = [
        Task("x", 1, "a", {"link": 1}),
        Task("y", 1, "b", {"link": 1, "disk": 0.5}),
        Task("z", 1, "c", {"disk": 0.75}),
    ]
    line = simulate(tasks)
    assert line.end[2] == pytest.approx(1.0)
    assert line.end[:2].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "tasks",
    [
        [Task("a", 1, "s", after=(1,)), Task("b", 1, "t", after=(0,))],
        [Task("a", 1, "s", after=(7,))],
        [Task("a", -1, "s")],
        [Task("a", float("nan"), "s")],
        [Task("a", 1, "s", {"link": 1.5})],
        [Task("a", 1, "s", after=(1,)), Task("b", 1, "s")],
    ],
)
def test_what_cannot_run_is_refused(tasks: list[Task]) -> None:
    with pytest.raises(BadInput):
        simulate(tasks)


# ---- laws --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_laws_of_a_timeline(seed: int) -> None:
    tasks = several(seed)
    line = simulate(tasks)
    for i, task in enumerate(tasks):
        assert line.end[i] - line.start[i] >= task.seconds - 1e-9
        assert all(line.end[before] <= line.start[i] + 1e-9 for before in task.after)
    for name in {task.stream for task in tasks}:
        mine = [i for i, task in enumerate(tasks) if task.stream == name]
        assert all(line.end[a] <= line.start[b] + 1e-9 for a, b in pairwise(mine))
    for name in ("r0", "r1", "r2"):
        assert line.time >= sum(t.seconds * t.uses.get(name, 0) for t in tasks) - 1e-9
    check_trace(chrome_json(line.trace()))
    free = simulate([Task(t.name, t.seconds, t.stream, {}, t.after) for t in tasks])
    assert free.time <= line.time + 1e-9


@pytest.mark.slow  # numba compiles for ten seconds, once a machine
@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs the extra fast")
def test_compiled_and_plain_are_the_same_numbers() -> None:
    for seed in range(5):
        plain, fast = simulate(several(seed)), simulate(several(seed), fast=True)
        assert plain.start.tolist() == fast.start.tolist()
        assert plain.end.tolist() == fast.end.tolist()


# ---- overlap -----------------------------------------------------------------------------------------------------------------


@given(SECONDS, SECONDS, SHARE)
def test_beside(compute: float, transfer: float, share: float) -> None:
    tasks = [Task("c", compute, "compute", {"sm": 1}), Task("k", transfer, "link", {"sm": share, "link": 1}, firm=True)]
    assert simulate(tasks).time == pytest.approx(beside(compute, transfer, share))


@given(st.lists(st.tuples(st.integers(0, 4), SECONDS, SECONDS, SECONDS), min_size=1, max_size=3), SHARE, st.booleans())
@settings(max_examples=50)
def test_streamed_layers(parts: list[tuple[int, float, float, float]], share: float, resident: bool) -> None:
    layers = [(bring, compute, leave) for count, bring, compute, leave in parts for _ in range(count)]
    if not layers:
        assert streamed(parts, share, resident=resident) == 0
        return
    tasks: list[Task] = []
    arrived, computed = {}, {}
    uses = {"sm": share, "link": 1.0}

    def bring(i: int) -> None:
        if i < len(layers):
            arrived[i] = len(tasks)
            before = (computed[i - 2],) if i >= 2 else ()
            seconds = 0.0 if i == 0 and resident else layers[i][0]
            tasks.append(Task(f"in {i}", seconds, "link", uses, before, True))

    bring(0)
    for i, (_, compute, _) in enumerate(layers):
        computed[i] = len(tasks)
        tasks.append(Task(f"layer {i}", compute, "compute", {"sm": 1.0}, (arrived[i],)))
        if i:
            tasks.append(Task(f"out {i - 1}", layers[i - 1][2], "link", uses, (computed[i - 1],), True))
        bring(i + 1)
    tasks.append(Task("out last", layers[-1][2], "link", uses, (computed[len(layers) - 1],), True))
    assert simulate(tasks).time == pytest.approx(streamed(parts, share, resident=resident))


def test_streamed_blocks_of_array_counts() -> None:
    counts = np.array([0, 1, 2, 5])
    together = streamed([(counts, 1.0, 2.0, 0.5), (3, 0.5, 0.25, 2.0), (counts, 1.0, 0.5, 0.0)], 0.1)
    alone = [streamed([(int(c), 1.0, 2.0, 0.5), (3, 0.5, 0.25, 2.0), (int(c), 1.0, 0.5, 0.0)], 0.1) for c in counts]
    assert together.tolist() == pytest.approx(alone)


@given(SECONDS, SECONDS, st.integers(1, 8), SHARE)
def test_chunked(compute: float, transfer: float, chunks: int, share: float) -> None:
    tasks: list[Task] = []
    for i in range(chunks):
        after = (2 * i - 3,) if i >= 2 else ()  # a buffer is free once its message has gone: a chunk starts with one
        tasks.append(Task(f"c{i}", compute / chunks, "compute", {"sm": 1.0}, after))
        tasks.append(Task(f"k{i}", transfer / chunks, "link", {"sm": share}, (len(tasks) - 1,), True))
    assert simulate(tasks).time == pytest.approx(chunked(compute, transfer, chunks, share))


# ---- repeated work -----------------------------------------------------------------------------------------------------------


def by_simulation(works: list[Work], steps: int) -> float:
    """Slope of the second half of many steps."""
    tasks: list[Task] = []
    step_of: list[int] = []
    made: dict[tuple[str, int], int] = {}
    period = {work.name: work.period for work in works}
    for step in range(steps):
        for work in works:
            if step % work.period:
                continue
            wanted = [(name, (step - lag) // period[name] * period[name]) for name, lag in work.after]
            after = tuple(made[w] for w in wanted if w[1] >= 0)
            made[work.name, step] = len(tasks)
            tasks.append(Task(work.name, float(work.seconds), work.stream, after=after))
            step_of.append(step)
    line = simulate(tasks)
    half, whole = (max(line.end[i] for i, s in enumerate(step_of) if s < n) for n in (steps // 2, steps))
    return float(whole - half) / (steps - steps // 2)


@st.composite
def repeated(draw: st.DrawFn) -> list[Work]:
    n = draw(st.integers(1, 5))
    works = []
    for i in range(n):
        after = []
        for j in range(n):
            if draw(st.booleans()):
                after.append((f"w{j}", draw(st.integers(0 if j < i else 1, 2))))
        works.append(
            Work(
                f"w{i}",
                draw(st.sampled_from([0.25, 1.0, 1.5, 3.0])),
                draw(st.sampled_from("ab")),
                tuple(after),
                draw(st.sampled_from([1, 1, 2, 3])),
            )
        )
    return works


@given(repeated())
@settings(max_examples=40)
def test_a_steady_step_is_the_slope_of_many(works: list[Work]) -> None:
    assert steady_step(works) == pytest.approx(by_simulation(works, 192), rel=0.02)


def test_local_sgd_pays_its_average_every_h_steps() -> None:
    """Blocking: compute + all-reduce / H. A step behind, it hides under H steps of computing."""
    h, compute, reduce = 4, 1.0, 2.0
    blocking = [Work("reduce", reduce, "compute", (), h), Work("compute", compute, "compute")]
    assert steady_step(blocking) == pytest.approx(compute + reduce / h)
    behind = [
        Work("compute", compute, "compute", (("reduce", 1),)),
        Work("reduce", reduce, "link", (("compute", 0),), h),
    ]
    assert steady_step(behind) == pytest.approx((compute * h + reduce - 0.0) / h)
    later = [
        Work("compute", compute, "compute", (("reduce", h),)),
        Work("reduce", reduce, "link", (("compute", 0),), h),
    ]
    assert steady_step(later) == pytest.approx(compute)


def test_displaced_patches_hide_a_message_under_a_step() -> None:
    for send in (0.5, 1.0, 3.0):
        now = [Work("layer", 1.0, "compute", (("send", 1),)), Work("send", send, "link", (("layer", 0),))]
        assert steady_step(now) == pytest.approx(1.0 + send)
        stale = [Work("layer", 1.0, "compute", (("send", 2),)), Work("send", send, "link", (("layer", 0),))]
        assert steady_step(stale) == pytest.approx(max(1.0, send, (1.0 + send) / 2))


def test_two_batches_hide_messages_and_never_beat_either_resource() -> None:
    a, d, e, c = np.random.default_rng(0).random((4, 200))
    step = two_batches(a, d, e, c)
    assert np.all(step >= np.maximum.reduce([2 * (a + e), 2 * (d + c), a + d + e + c]) - 1e-12)
    assert two_batches(1.0, 0.2, 1.0, 0.4) == pytest.approx(4.0)
    assert [two_batches(*x) for x in np.stack([a, d, e, c], axis=1)[:5]] == pytest.approx(step[:5])


def test_largest_mean_of_small_graphs() -> None:
    assert largest_cycle_mean([Edge("a", "a", 3.0, 2)]) == 1.5
    assert largest_cycle_mean([Edge("a", "b", 1.0), Edge("b", "a", 2.0, 1), Edge("b", "b", 2.5, 1)]) == 3.0
    assert largest_cycle_mean([Edge("a", "b", 1.0)]) == 0.0
    assert largest_cycle_mean([]) == 0.0
    with pytest.raises(BadInput, match="waits for itself"):
        largest_cycle_mean([Edge("a", "b", 1.0), Edge("b", "a", 2.0)])


@pytest.mark.parametrize(
    "works", [[Work("a", 1, "s", period=0)], [Work("a", 1, "s", (("b", 0),))], [Work("a", 1, "s", (("a", 0),))]]
)
def test_works_that_make_no_sense_are_refused(works: list[Any]) -> None:
    with pytest.raises(BadInput):
        steady_step(works)
