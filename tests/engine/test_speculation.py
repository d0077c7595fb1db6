"""Steps that verify drafts: what a call is, what it yields, and what two models hold together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.file import dumps, loads
from speedlight.scenario.scenario import ModelRef, Scenario


def drafted(scenario: Scenario, drafts: int, outputs: float) -> Scenario:
    """The same with a smaller model that drafts."""
    w = scenario.program.workload
    first = dataclasses.replace(
        scenario.program, name="draft", model=ModelRef("llama-3.2-1b"),
        workload=dataclasses.replace(w, outputs=outputs / drafts),
    )  # fmt: skip
    then = dataclasses.replace(
        scenario.program, name="verify", workload=dataclasses.replace(w, new=drafts + 1, outputs=outputs)
    )
    return scenario.replace(programs=(first, then), main="verify")


def decode(**options: object) -> Scenario:
    return make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode", **{"batch": 4, "context": 2048, **options})


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 8), st.floats(1.0, 9.0))
def test_a_call_adds_one_token_to_each_sequence(drafts: int, outputs: float) -> None:
    step = predict(decode().with_workload(new=drafts + 1), details=False)
    call = predict(decode().with_workload(new=drafts + 1, outputs=outputs), details=False)
    assert call.time == pytest.approx(step.time / outputs)
    assert call.throughput["value"] == pytest.approx(4 / call.time)
    assert call.tpot == pytest.approx(call.time)


def test_drafts_are_verified_by_their_logits() -> None:
    one, five = (predict(decode().with_workload(new=n), details=False) for n in (1, 5))
    assert five.flops == pytest.approx(5 * one.flops, rel=1e-3)
    assert one.time <= five.time < 1.3 * one.time  # weights and cache are read once


def test_programs_that_draft_and_verify_add() -> None:
    both = predict(drafted(decode(), 4, 3.0))
    target = predict(decode().with_workload(new=5, outputs=3.0), details=False)
    small = predict(
        make_scenario("llama-3.2-1b", "h100-sxm-80gb", phase="decode", batch=4, context=2048), details=False
    )
    assert both.time == pytest.approx(target.time + small.time * 4 / 3.0)
    assert both.throughput["value"] == pytest.approx(4 / both.time)
    assert both.phase == "decode"
    for cls in ("weights", "kv"):
        assert both.memory.by_class[cls] == pytest.approx(target.memory.by_class[cls] + small.memory.by_class[cls])


def test_generation_counts_both_prompts() -> None:
    plain = make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="generate", batch=4, isl=512, osl=65)
    both, alone = predict(drafted(plain, 4, 3.0), details=False), predict(plain, details=False)
    small = predict(make_scenario("llama-3.2-1b", "h100-sxm-80gb", phase="prefill", batch=4, isl=512), details=False)
    assert both.ttft == pytest.approx(alone.ttft + small.time)
    assert both.time == pytest.approx(both.ttft + 64 * both.tpot)
    assert both.throughput["value"] == pytest.approx(4 * 65 / both.time)


def test_a_draft_of_the_same_weights_takes_no_memory() -> None:
    base = decode()
    half = dataclasses.replace(base.program.model, rewrites=())
    first = dataclasses.replace(base.program, name="draft", model=half, shares="main")
    whole = base.replace(programs=(first, base.program), main="main")
    assert predict(whole, details=False).memory.total == predict(base, details=False).memory.total
    narrow = dataclasses.replace(first, model=dataclasses.replace(half, weights="int4"))
    copied = base.replace(programs=(narrow, base.program), main="main")
    assert (
        predict(copied, details=False).memory.by_class["weights"]
        > predict(base, details=False).memory.by_class["weights"]
    )


def test_sweeps_equal_loops() -> None:
    batch = np.array([1.0, 16.0, 64.0])
    swept = predict(drafted(decode(batch=batch), 3, 2.5), details=False)
    for index, one in enumerate(batch):
        assert swept.time[index] == pytest.approx(predict(drafted(decode(batch=one), 3, 2.5), details=False).time)


def test_a_reused_prefix_is_read_and_not_computed() -> None:
    whole = make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", batch=2, isl=4096)
    hit, cold = predict(whole.with_workload(reused=3072), details=False), predict(whole, details=False)
    assert hit.flops < cold.flops / 3
    assert hit.time < cold.time / 2
    assert hit.memory.by_class["kv"] == cold.memory.by_class["kv"]
    assert hit.throughput["value"] == pytest.approx(2 * 4096 / hit.time)  # prompts served, cached or not
    with pytest.raises(BadInput):
        predict(whole.with_workload(reused=4096))
    with pytest.raises(BadInput):
        predict(decode().with_workload(outputs=0))


def test_it_is_in_the_file() -> None:
    scenario = drafted(decode(), 4, 3.0)
    assert loads(dumps(scenario)) == scenario


def test_what_lies_outside_the_device_is_kept_for_both() -> None:
    outside = decode(offload=["kv:host"])
    both = predict(drafted(outside, 4, 3.0), details=False)
    alone = predict(outside.with_workload(new=5), details=False)
    small = predict(
        make_scenario("llama-3.2-1b", "h100-sxm-80gb", phase="decode", batch=4, context=2048, offload=["kv:host"]),
        details=False,
    )
    assert both.memory.elsewhere["host"] == pytest.approx(
        alone.memory.elsewhere["host"] + small.memory.elsewhere["host"]
    )
    assert both.memory.room["host"] == alone.memory.room["host"]


def test_its_time_is_said_to_be_of_a_token() -> None:
    from speedlight.report.words import called

    assert called(predict(decode(), details=False)) == "per decode step"
    assert called(predict(drafted(decode(), 4, 3.0), details=False)) == "per token of each sequence"
