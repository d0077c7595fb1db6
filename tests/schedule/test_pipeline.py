"""Pipelines: closed forms against the literature, against a slow event simulation, and laws."""

from __future__ import annotations

import importlib.util
import itertools
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput, UnknownName
from speedlight.schedule.families import FAMILIES, in_flight, parse, passes_of
from speedlight.schedule.passes import held
from speedlight.schedule.pipeline import PipelineStep, StageClass, layouts_of, pipeline_step
from speedlight.schedule.solve import whole

from .simulation import simulate

NAMES = tuple(name for name, family in FAMILIES.items() if not family.steady)


def even(p: int, f: float = 1.0, b: float = 2.0, w: float = 0.0) -> list[StageClass]:
    return [StageClass(p, f, b, w)]


# ---- the literature ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "m"), [(1, 7), (4, 4), (4, 32), (8, 64), (16, 128)])
def test_gpipe_and_1f1b_lose_p_minus_1_of_m_plus_p_minus_1(p: int, m: int) -> None:
    """arXiv 1811.06965 §2.3: O((K − 1)/(M + K − 1)) of the time; arXiv 2104.04473 eq. (p − 1)/m of the ideal."""
    for schedule in ("gpipe", "1f1b"):
        step = pipeline_step(even(p), m, schedule)
        assert step.bubble / step.time == pytest.approx((p - 1) / (m + p - 1), abs=1e-12)
        assert step.bubble / step.busy == pytest.approx((p - 1) / m, abs=1e-12)


@pytest.mark.parametrize(("p", "m", "v"), [(4, 8, 2), (8, 64, 2), (8, 64, 4), (64, 512, 2), (2, 2, 3)])
def test_interleaving_divides_the_bubble_by_v(p: int, m: int, v: int) -> None:
    """arXiv 2104.04473 §2.2.2: (p − 1)/(v · m) of the ideal, at 1 + (p − 1)/(p · v) of 1F1B's memory (arXiv 2205.05198 §4.2.3)."""
    step = pipeline_step(even(p * v, 1 / v, 2 / v), m, f"interleaved:{v}")
    assert step.bubble / step.busy == pytest.approx((p - 1) / (v * m))
    if m > p:
        assert step.in_flight[0] == pytest.approx(p * (1 + (p - 1) / (p * v)))


@pytest.mark.parametrize(("f", "b", "w"), [(1, 1, 1), (1, 1.2, 0.8), (1, 1.1, 0.9)])
def test_zero_bubble(f: float, b: float, w: float) -> None:
    """arXiv 2401.10241 §2.3: (p − 1)(T_F + T_B − T_W) at 1F1B's memory; (p − 1)(T_F + T_B − 2 T_W) at 2p − 1."""
    p, m = 8, 24
    first = pipeline_step(even(p, f, b, w), m, "zb-h1")
    assert first.bubble == pytest.approx((p - 1) * (f + b - w))
    assert first.in_flight[0] == p
    second = pipeline_step(even(p, f, b, w), m, "zb-h2")
    assert second.bubble == pytest.approx((p - 1) * max(f + b - 2 * w, 0), abs=1e-9)
    assert second.in_flight[0] == 2 * p - 1
    one = pipeline_step(even(p, f, b, w), m, "1f1b")
    assert one.bubble == pytest.approx((p - 1) * (f + b + w))


@pytest.mark.parametrize(("p", "m"), [(2, 4), (4, 8), (8, 15), (8, 32)])
def test_zb_v_has_no_bubble_at_1f1bs_memory(p: int, m: int) -> None:
    """arXiv 2405.15362: equal passes, two chunks a rank: no bubble, p micro-batches held by every rank."""
    step = pipeline_step(even(2 * p, 0.5, 0.5, 0.5), m, "zb-v")
    assert step.time == pytest.approx(m * 2 * 1.5)
    assert step.bubble == pytest.approx(0, abs=1e-9)
    assert {in_flight("zb-v", p, m, 2, rank) for rank in range(p)} == {p}


@pytest.mark.parametrize(("p", "m"), [(4, 8), (8, 16), (8, 64)])
def test_vocabulary_shared_by_all_ranks(p: int, m: int) -> None:
    """arXiv 2411.05288: the last stage's extra work becomes everyone's share; one more micro-batch held, up to one forward more
    of bubble."""
    own, rest, v = 1.0, 2.0, 1.6
    dealt = pipeline_step([StageClass(p, own, rest, 0.0, v / p)], m, "vocabulary")
    assert dealt.busy == pytest.approx(m * (own + rest + v / p))
    assert (p - 1) * (own + rest) - v / p <= dealt.bubble <= (p - 1) * (own + rest) + own + 1e-9
    assert dealt.in_flight[0] == p + 1
    heavy = pipeline_step([StageClass(p - 1, own, rest), StageClass(1, own + v / 2, rest + v / 2)], m, "1f1b")
    assert heavy.busy == pytest.approx(m * (own + rest + v))
    assert dealt.time < heavy.time
    with pytest.raises(BadInput, match="vocabulary"):
        pipeline_step([StageClass(p, own, rest, 0.0, v / p)], m, "1f1b")


@pytest.mark.parametrize("p", [2, 4, 6, 8, 16])
def test_chimera(p: int) -> None:
    """arXiv 2107.06925 table 2: (D − 2)/(2N + D − 2) for equal passes, (D − 2)/(3N/2 + D − 2) for backwards twice as long, N = D;
    activations of D/2 + 1 … D micro-batches."""
    equal = pipeline_step(even(p, 1, 1), p, "chimera")
    assert equal.bubble / equal.time == pytest.approx((p - 2) / (2 * p + p - 2))
    longer = pipeline_step(even(p, 1, 2), p, "chimera")
    assert longer.bubble / longer.time == pytest.approx((p - 2) / (1.5 * p + p - 2))
    for m in (2 * p, 4 * p + 2):  # more micro-batches, the same bubble (§3.5)
        many = pipeline_step(even(p, 1, 2), m, "chimera")
        assert many.bubble == pytest.approx(2 * (p - 2))
        assert many.in_flight[0] == p
    most = [in_flight("chimera", p, p, 1, rank) for rank in range(p)]
    assert (min(most), max(most)) == (p / 2 + 1, p)


def test_1f1b_with_messages_pays_two_of_them_for_most_micro_batches() -> None:
    step = pipeline_step(even(4), 8, "1f1b", send_s=0.1)
    assert step.exposed_send == pytest.approx(2 * 0.1 * (11 - 3))
    assert step.bubble == pytest.approx(9)


# ---- an independent simulation -----------------------------------------------------------------------------------------------

SECONDS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.75, 2.0, 3.0])


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(NAMES))
    p = draw(st.integers(1, 6))
    m = draw(st.integers(1, 14))
    if FAMILIES[name].even:
        p, m = 2 * ((p + 1) // 2), 2 * ((m + 1) // 2)
    v = FAMILIES[name].chunks or draw(st.integers(1, 3))
    uneven = draw(st.booleans())
    counts = [1] * (p * v) if uneven else [p * v]
    shared = SECONDS if FAMILIES[name].shares else st.just(0.0)
    classes = [StageClass(n, draw(SECONDS) + 0.125, draw(SECONDS) + 0.125, draw(SECONDS), draw(shared)) for n in counts]
    return {
        "name": name,
        "p": p,
        "m": m,
        "v": v,
        "classes": classes,
        "send": draw(SECONDS) / draw(st.sampled_from([1, 8])),
    }


def simulated(q: dict[str, Any], send: float) -> float:
    family = FAMILIES[q["name"]]
    columns = [
        [float(getattr(c, key)) for c in q["classes"] for _ in range(c.count)]
        for key in ("forward", "backward", "weight", "shared")
    ]
    found = []
    for order in (family.order, *family.others):
        whole, span = simulate(order(q["p"], q["m"], q["v"]), *columns, send)
        found.append(whole if family.flushes else span)
    return min(found)


def asked(q: dict[str, Any], **more: Any) -> PipelineStep:
    return pipeline_step(q["classes"], q["m"], q["name"], virtual=q["v"], **{"send_s": q["send"], **more})


@given(pipelines())
def test_every_schedule_takes_what_a_simulation_takes(q: dict[str, Any]) -> None:
    step = asked(q)
    bare = simulated(q, 0.0)
    assert step.busy + step.bubble == pytest.approx(bare)
    assert step.time == pytest.approx(
        max(simulated(q, q["send"]), bare)
    )  # a rank that starts late may work for less long
    assert step.busy + step.bubble + step.exposed_send == pytest.approx(step.time)


@given(
    st.sampled_from(NAMES), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.floats(0.5, 2), st.floats(0.5, 2),
    st.floats(0, 1), st.sampled_from([0.0, 0.2, 0.5]),
)  # fmt: skip
def test_closed_forms_of_equal_stages_take_what_a_simulation_takes(
    name: str, p: int, rounds: int, v: int, f: float, b: float, w: float, send: float
) -> None:
    rounds, b = (2 * rounds, max(f, min(b, 3 * f) - w)) if FAMILIES[name].even else (rounds, b)
    p, v = 2 * p if FAMILIES[name].even else p, FAMILIES[name].chunks or v
    q = {"name": name, "p": p, "m": rounds * p, "v": v, "classes": [StageClass(p * v, f, b, w)], "send": send}
    step = asked(q)
    assert step.busy + step.bubble == pytest.approx(
        simulated({**q, "classes": [StageClass(1, f, b, w)] * (p * v)}, 0.0)
    )
    if FAMILIES[name].flushes:
        assert step.time == pytest.approx(simulated({**q, "classes": [StageClass(1, f, b, w)] * (p * v)}, send))


# ---- laws --------------------------------------------------------------------------------------------------------------------


@given(pipelines())
def test_never_below_the_busiest_rank_and_parts_are_not_negative(q: dict[str, Any]) -> None:
    step = asked(q)
    assert step.bubble >= -1e-12
    assert step.exposed_send >= -1e-12
    blocking = asked(q, blocking=True)
    assert blocking.time >= blocking.busy
    assert asked(q, send_s=q["send"] + 0.5).time >= step.time - 1e-9


@given(pipelines())
def test_what_is_held_is_what_the_order_holds(q: dict[str, Any]) -> None:
    if q["p"] == 1:
        assert in_flight(q["name"], 1, q["m"], q["v"]) == (q["m"] if q["name"] == "gpipe" else 1)
        return
    order = held(passes_of(q["name"], q["p"], q["m"], q["v"]))
    said = [in_flight(q["name"], q["p"], q["m"], q["v"], rank) * q["v"] for rank in range(q["p"])]
    if FAMILIES[q["name"]].even:  # counted at the rank that holds most
        assert all(a <= b for a, b in zip(order.tolist(), said, strict=True))
        assert max(order.tolist()) == max(said)
    else:
        assert order.tolist() == pytest.approx(said)


@given(
    st.sampled_from(["1f1b", "interleaved", "zb-h1"]), st.integers(2, 4), st.integers(0, 3), st.lists(SECONDS, min_size=3, max_size=3),
    st.sampled_from([0.0, 0.05, 0.5]), st.booleans(),
)  # fmt: skip
@settings(max_examples=40)
def test_long_pipelines_are_what_a_walk_over_all_their_passes_is(
    name: str, p: int, more: int, seconds: list[float], send: float, blocking: bool
) -> None:
    """Once settled, further micro-batches add a known time each; a pipeline that has not is walked whole."""
    v = FAMILIES[name].chunks or 2
    m = 24 * p + (0 if name == "interleaved" else more % p)
    classes = [
        StageClass(1, 1 + seconds[0], 2.0, 0.5),
        StageClass(p * v - 2, 1 + seconds[1], 2.0, 0.5),
        StageClass(1, 1 + seconds[2], 2.5, 0.5),
    ]
    step = pipeline_step(classes, m, name, virtual=v, send_s=send, blocking=blocking)
    _, layouts, _ = layouts_of(classes, m, name, v, send)
    assert step.time == pytest.approx(float(whole(name, layouts, blocking)[0]), rel=1e-10)


def test_a_pipeline_whose_waiting_overtakes_late_is_walkedwhole() -> None:
    """At first the last stage sets the pace; the longer circle through all stages is slower by so little that it shows late."""
    p, m = 4, 400
    classes = [StageClass(p - 1, 1.0, 2.0), StageClass(1, 1.0, 2.0 + 0.149)]
    step = pipeline_step(classes, m, "1f1b", send_s=0.1)
    _, layouts, _ = layouts_of(classes, m, "1f1b", 1, 0.1)
    assert step.time == pytest.approx(float(whole("1f1b", layouts, False)[0]), rel=1e-12)
    assert step.time > m * 3.149 + 3.0


@given(pipelines())
def test_what_a_class_holds_is_what_the_rank_of_its_first_stage_holds(q: dict[str, Any]) -> None:
    order = passes_of(q["name"], q["p"], q["m"], q["v"]).order
    firsts = np.cumsum([0, *(c.count for c in q["classes"])])[:-1]
    ranks = [int(order.holder[0][first]) for first in firsts]
    expected = [in_flight(q["name"], q["p"], q["m"], q["v"], rank) for rank in ranks]
    assert asked(q).in_flight == pytest.approx(tuple(expected))


@pytest.mark.parametrize("name", NAMES)
def test_one_call_equals_many(name: str) -> None:
    """Degrees, micro-batches, virtual stages and seconds as arrays: pp ∈ {1, 2, 4, 8} is one call."""
    pp, m = np.meshgrid([1, 2, 4, 8], [2, 8, 12])
    virtual = np.array([[1], [2], [3]]) if name == "interleaved" else np.array([[FAMILIES[name].chunks]])
    stages = pp * virtual
    forward = np.linspace(1, 2, 12).reshape(3, 4)
    fields = np.broadcast_arrays(
        1, forward * 1.1, 2.0, 0.5,
        np.maximum(stages - 2, 0), forward, 2.0, 0.5,
        np.where(stages > 1, 1, 0), forward * 1.5, 2.5, 0.5,
    )  # fmt: skip
    together = pipeline_step([StageClass(*fields[i : i + 4]) for i in (0, 4, 8)], m, name, virtual=virtual, send_s=0.05)
    assert together.time.shape == (3, 4)
    for at in itertools.product(range(3), range(4)):
        own = [float(x[at]) for x in fields]
        v = int(np.broadcast_to(virtual, (3, 4))[at])
        classes = [StageClass(*own[i : i + 4]) for i in (0, 4, 8)]
        alone = pipeline_step(classes, int(m[at]), name, virtual=v, send_s=0.05)
        assert type(alone.time) is float
        assert together.time[at] == pytest.approx(alone.time)
        assert together.bubble[at] == pytest.approx(alone.bubble)
        assert [x[at] for x in together.in_flight] == pytest.approx(list(alone.in_flight))


@pytest.mark.slow  # numba compiles for seconds, once a machine
@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs the extra fast")
def test_compiled_and_plain_walks_are_the_same_numbers() -> None:
    import numba  # noqa: F401 — its presence is what switches the loop

    from speedlight.schedule import passes as room

    forward = np.linspace(1, 2, 4000)
    classes = [StageClass(1, forward, 2.0, 0.5), StageClass(6, forward * 1.1, 2.0, 0.5), StageClass(1, 1.5, 2.5, 0.5)]
    for blocking in (False, True):
        for send in (0.0, 0.1, 5.0):
            _, layouts, _ = layouts_of(classes, 40, "1f1b", 1, send)
            fast = whole("1f1b", layouts, blocking)
            worth, room.WORTH = room.WORTH, 10**12
            plain = whole("1f1b", layouts, blocking)
            room.WORTH = worth
            assert fast.tolist() == plain.tolist()


# ---- names and bad input -----------------------------------------------------------------------------------------------------


def test_names() -> None:
    assert parse("interleaved:4") == ("interleaved", 4)
    assert parse("zero-bubble") == ("zb-h1", 1)
    assert parse("1F1B") == ("1f1b", 1)
    with pytest.raises(UnknownName, match="pipeline schedule"):
        parse("zigzag")
    for text in ("interleaved:0", "interleaved:x", "gpipe:2"):
        with pytest.raises(BadInput):
            parse(text)


@pytest.mark.parametrize(
    ("classes", "m", "schedule"),
    [
        (even(4), 0, "1f1b"),
        (even(4), 2.5, "1f1b"),
        (even(0), 4, "1f1b"),
        (even(5), 4, "interleaved:2"),
        (even(3), 4, "chimera"),
        (even(4), 5, "chimera"),
        ([StageClass(-1, 1, 1), StageClass(3, 1, 1)], 4, "1f1b"),
    ],
)
def test_what_cannot_run_is_refused(classes: list[StageClass], m: float, schedule: str) -> None:
    with pytest.raises(BadInput):
        pipeline_step(classes, m, schedule)


def test_several_stages_a_rank_need_interleaving() -> None:
    with pytest.raises(BadInput, match="interleaved"):
        pipeline_step(even(4), 4, "1f1b", virtual=2)


def test_a_whole_step_of_64_stages_and_512_micro_batches_takes_less_than_150_ms() -> None:
    """Uneven stages, messages, two chunks a rank: 131,072 passes. Processor time, so that a busy machine does not fail it."""
    classes = [StageClass(1, 0.52, 1.0), StageClass(126, 0.5, 1.0), StageClass(1, 0.6, 1.2)]
    took = []
    for _ in range(4):
        begun = time.process_time()
        pipeline_step(classes, 512, "interleaved:2", send_s=0.02)
        took.append(time.process_time() - begun)
    assert min(took[1:]) < 0.15


@given(pipelines())
def test_without_a_flush_a_step_takes_what_its_micro_batches_add(q: dict[str, Any]) -> None:
    """PipeDream: what a pipeline of 1F1B under way takes for a further micro-batch, whatever fill and drain cost."""
    p = q["p"]
    classes = [StageClass(1, c.forward, c.backward, c.weight) for c in q["classes"][:1] * p]
    one, two = (pipeline_step(classes, 8 * p * k, "1f1b", send_s=min(q["send"], 0.125)) for k in (1, 2))
    steady = pipeline_step(classes, 8 * p, "pipedream", send_s=min(q["send"], 0.125))
    assert steady.time == pytest.approx(two.time - one.time)
    assert steady.time >= steady.busy
