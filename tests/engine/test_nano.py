"""Nano-batches: parts of a step beside each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.engine.answers.prediction import Prediction
from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.scenario import Scenario


def cut(scenario: Scenario, parts: int) -> Prediction:
    return predict(scenario.with_program(software={"attrs": {"nano_batches": parts}}))


def decode(batch: object, context: int = 1024, model: str = "llama-3.1-8b", **degrees: int) -> Scenario:
    machine = "dgx-a100-80gb" if degrees else "h100-sxm-80gb"
    return make_scenario(model, machine, phase="decode", batch=batch, context=context, **degrees)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([4, 64, 512]), st.sampled_from([128, 4096]), st.sampled_from([2, 3, 4]))
def test_the_same_work_never_below_its_limit_nor_beyond_parts_in_turn(batch: int, context: int, parts: int) -> None:
    whole, after = predict(decode(batch, context)), cut(decode(batch, context), parts)
    assert after.flops == pytest.approx(whole.flops)
    assert float(after.limit) <= float(after.time) * (1 + 1e-12)
    assert sum(row.time for row in after.ops) == pytest.approx(float(after.time), rel=1e-9)
    in_turn = parts * float(predict(decode(batch / parts, context), details=False).time)
    assert float(after.time) <= in_turn * (1 + 1e-9)
    assert after.memory.total == whole.memory.total


def test_one_part_is_the_step_itself() -> None:
    assert cut(decode(8), 1).time == predict(decode(8)).time


def test_a_sweep_equals_a_loop() -> None:
    batches = np.array([2.0, 64.0, 512.0])
    together = predict(decode(batches).with_program(software={"attrs": {"nano_batches": 2}}), details=False).time
    alone = [float(cut(decode(float(b)), 2).time) for b in batches]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_weights_are_read_once_a_part_so_that_small_batches_lose_and_large_sharded_ones_win() -> None:
    assert cut(decode(4), 2).time > predict(decode(4)).time
    large = decode(512, model="llama-2-70b", tp=8)
    before, after = predict(large), cut(large, 2)
    assert float(before.time / after.time) > 1.3
    assert float(after.bytes) > float(before.bytes)


def test_links_hide_behind_products() -> None:
    """A slower link costs the step in turn more than it costs the step in parts."""
    large = decode(512, model="llama-2-70b", tp=8)
    slow = dataclasses.replace(large, overrides={"domains.nvlink.bandwidth": 100e9})
    lost = [float(ask(slow).time / ask(large).time) for ask in (predict, lambda s: cut(s, 2))]
    assert lost[0] > 1.02
    assert lost[1] < lost[0]
