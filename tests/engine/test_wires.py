"""Messages that travel packed, seldom, late or beside computation: laws of what they take."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.engine.answers.prediction import Prediction
from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.engine.training.overlapped import Piece, halved, late, show
from speedlight.scenario.scenario import Scenario, Wire
from speedlight.schedule.overlap import taking_turns, two_batches
from speedlight.workload.workload import decode_step, prefill_step

SECONDS = st.floats(0.01, 10.0)
PROMPT = {"phase": "prefill", "batch": 2, "isl": 2048, "tp": 8}
STEP = {"phase": "train", "batch": 64, "isl": 2048, "dp": 16, "micro_batch": 1}


def asked(question: dict[str, Any], *wires: Wire, **parallel: Any) -> Scenario:
    machine = "dgx-h100x2" if question["phase"] == "train" else "dgx-h100"
    scenario = make_scenario("llama-3.1-8b", machine, **question)
    return scenario.with_program(parallel=dataclasses.replace(scenario.program.parallel, wires=wires, **parallel))


def answer(question: dict[str, Any], *wires: Wire, **parallel: Any) -> Prediction:
    return predict(asked(question, *wires, **parallel))


def seconds(found: Prediction, part: str) -> float:
    return sum(float(op.time) for op in found.ops if part in op.name)


# What shows of a layer ------------------------------------------------------------------------------------------------------


def layer(products: tuple[float, float], attention: float, sent: tuple[float, float]) -> list[Piece]:
    return [
        Piece("attention", (), "", attention), Piece("matmul", (), "", products[0]), Piece("collective", ("tp",), "all_reduce", sent[0]),
        Piece("norm", (), "", 0.01), Piece("matmul", (), "", products[1]), Piece("collective", ("tp",), "all_reduce", sent[1]),
    ]  # fmt: skip


@given(
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    st.sampled_from(["product", "half", "attention", "block"]),
    st.floats(0, 0.5),
)
def test_a_layer_takes_no_less_than_its_busiest_stream(a: float, b: float, c: float, x: float, y: float, how: str, units: float) -> None:  # fmt: skip
    pieces = layer((a, b), c, (x, y))
    show(pieces, {"tensor": Wire("tensor", beside=how, parts=4.0, units=units)}, 2.0)
    computed = a + b + c + 0.01
    shown = sum(p.shows for p in pieces)
    assert max(computed, x + y) <= shown * (1 + 1e-9)
    assert shown <= (computed + x + y) * (1 + 1e-9)
    assert all(p.shows >= -1e-12 for p in pieces)
    assert [p.shows for p in pieces if not p.carries] == [p.seconds for p in pieces if not p.carries]


@given(SECONDS, SECONDS, SECONDS, SECONDS)
def test_halves_hide_what_one_whole_cannot(a: float, b: float, x: float, y: float) -> None:
    two = taking_turns([(a, x), (b, y)])
    assert two == pytest.approx(two_batches(a, x, b, y))
    assert 2 * max(a + b, x + y) <= two * (1 + 1e-9) <= 2 * (a + b + x + y) * (1 + 1e-9)
    assert taking_turns([(a, x), (b, y)], 0.3) >= two


def test_one_sequence_that_decodes_is_not_cut() -> None:
    wires = {"tensor": Wire("tensor", beside="half")}
    step = halved(decode_step(np.array([1.0, 8.0]), 100), wires)
    assert step.repeats.tolist() == [1.0, 2.0]
    assert step.groups[0].count.tolist() == [1.0, 4.0]
    cut = halved(prefill_step(2, 1000), wires)
    group = cut.groups[0]
    assert (cut.repeats, group.count, group.new, group.cached) == (2, 2, 500, 250)
    whole, parts = 1000**2 / 2, 2 * (500 * 250 + 500**2 / 2)  # pairs of a causal mask
    assert whole == parts


def test_late_messages_have_the_whole_step_to_hide_in() -> None:
    for sent, shows in ((0.5, 0.0), (3.0, 2.0)):
        pieces = [Piece("matmul", (), "", 1.0), Piece("collective", ("cp",), "all_gather", sent)]
        late([(1.0, pieces)], {"context": Wire("context", lag=1)})
        assert pieces[1].shows == pytest.approx(shows)


# Whole answers --------------------------------------------------------------------------------------------------------------


def test_a_wire_that_says_nothing_changes_nothing() -> None:
    for question in (PROMPT, STEP):
        plain = answer(question)
        for carries in ("tensor", "gradients", "weights"):
            assert answer(question, Wire(carries)).time == plain.time


def test_rows_sum_to_the_time_however_messages_travel() -> None:
    for wire in (
        Wire("tensor", beside="half", units=0.1),
        Wire("tensor", beside="product", parts=8.0),
        Wire("tensor", share=0.5, passes=2.0),
    ):
        found = answer(PROMPT, wire)
        assert sum(float(op.time) for op in found.ops) == pytest.approx(float(found.time), rel=1e-9)
        assert found.low <= found.time <= found.high
        assert found.time >= found.limit
    for wire in (Wire("gradients", share=0.1, passes=3.0), Wire("gradients", period=8.0), Wire("gradients", lag=1)):
        found = answer(STEP, wire)
        assert sum(float(op.time) for op in found.ops) == pytest.approx(float(found.time), rel=1e-9)


def test_halves_read_weights_twice_and_keep_memory() -> None:
    before, after = answer(PROMPT), answer(PROMPT, Wire("tensor", beside="half"))
    assert after.time < before.time
    assert after.memory.total == before.memory.total
    assert float(after.flops) == pytest.approx(float(before.flops), rel=1e-4)  # the last token of each half
    assert after.bytes > before.bytes


def test_fewer_bytes_take_less_of_the_links_and_packing_some_of_the_memory() -> None:
    plain, packed = answer(STEP), answer(STEP, Wire("gradients", share=1 / 16, passes=6.0, kept=1.0))
    assert packed.least["link:infiniband"] < plain.least["link:infiniband"] / 10
    assert seconds(packed, ".pack") > 0
    assert packed.memory.by_class["gradients"] == pytest.approx(2 * plain.memory.by_class["gradients"])
    free = answer(STEP, Wire("gradients", share=1 / 16))
    assert free.time <= plain.time <= packed.time * 1.5


def test_choices_that_do_not_add_up_grow_with_the_ranks() -> None:
    chosen = Wire("gradients", share=0.05, collective="all_gather")
    few, many = (answer({**STEP, "dp": dp}, chosen).least["link:infiniband"] for dp in (8, 16))
    assert few == 0  # inside a box
    assert many == pytest.approx(answer(STEP).least["link:infiniband"] * 0.05 * 16 / 2, rel=0.6)
    assert many > 2 * answer(STEP, Wire("gradients", share=0.05)).least["link:infiniband"]


@given(st.sampled_from([2.0, 4.0, 16.0]))
def test_once_in_h_steps_costs_an_hth(period: float) -> None:
    plain = answer(STEP, Wire("gradients", period=1.0))
    seldom = answer(STEP, Wire("gradients", period=period))
    busy = [sum(float(op.busy) for op in found.ops if "reduce_gradients" in op.name) for found in (plain, seldom)]
    assert busy[1] == pytest.approx(busy[0] / period, rel=1e-9)


def test_late_gradients_hide_altogether_and_so_beat_all_overlap() -> None:
    assert seconds(answer(STEP, Wire("gradients", lag=1)), "reduce_gradients") == pytest.approx(0.0, abs=1e-9)
    assert answer(STEP, Wire("gradients", lag=1)).time <= answer(STEP).time


def test_a_second_copy_near_by_takes_backward_gathers_off_the_network() -> None:
    sharded = {"zero": 3}
    far, near = answer(STEP, **sharded), answer(STEP, **sharded, near=8)
    assert near.least["link:infiniband"] < far.least["link:infiniband"]
    weights = far.memory.by_class["weights"]
    assert near.memory.by_class["weights"] == pytest.approx(weights + weights * 16 / 8)


def test_experts_that_stay_send_less() -> None:
    def step(*wires: Wire) -> Prediction:
        scenario = make_scenario(
            "mixtral-8x7b", "dgx-h100x2", phase="train", batch=32, isl=2048, dp=16, ep=8, micro_batch=1
        )
        return predict(
            scenario.with_program(parallel=dataclasses.replace(scenario.program.parallel, wires=wires)), details=False
        )

    even, same, half, none = (
        step(),
        step(Wire("experts", stays=1 / 8)),
        step(Wire("experts", stays=0.5)),
        step(Wire("experts", stays=1.0)),
    )
    assert float(same.time) == pytest.approx(float(even.time), rel=1e-9)
    assert none.time < half.time < even.time


def test_a_sweep_of_wires_equals_its_points() -> None:
    shares = np.array([1.0, 0.5, 0.1])
    swept = predict(asked(STEP, Wire("gradients", share=shares, passes=2.0)), details=False)
    for index, share in enumerate(shares):
        alone = predict(asked(STEP, Wire("gradients", share=float(share), passes=2.0)), details=False)
        assert float(swept.time[index]) == pytest.approx(float(alone.time), rel=1e-9)


@pytest.mark.parametrize(
    ("wires", "message"),
    [
        ((Wire("letters"),), "no message carries"), ((Wire("tensor", beside="lunch"),), "messages beside"),
        ((Wire("tensor"), Wire("tensor", share=0.5)), "described twice"), ((Wire("tensor", share=-1.0),), "share is"),
        ((Wire("gradients", period=0.5),), "period is"), ((Wire("gradients", collective="shout"),), "by 'shout'"),
    ],
)  # fmt: skip
def test_what_no_message_can_be_is_refused(wires: tuple[Wire, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        predict(asked(PROMPT, *wires), details=False)


def test_two_copies_of_a_pipeline_sum_their_gradients() -> None:
    step = {"phase": "train", "batch": 32, "isl": 2048, "dp": 2, "pp": 4, "micro_batch": 1}
    one, two = answer(step), answer({**step, "schedule": "chimera"})
    assert not [op for op in one.ops if op.name.endswith("reduce_copies")]
    sent = [op for op in two.ops if op.name.endswith("reduce_copies")]
    assert sent
    assert sum(float(op.time) for op in two.ops) == pytest.approx(float(two.time), rel=1e-9)
    assert two.memory.by_class["weights"] == pytest.approx(2 * one.memory.by_class["weights"], rel=1e-3)
