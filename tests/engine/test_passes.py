"""A step and its passes: one device as the engine says, several by laws of their layouts."""

from __future__ import annotations

import pytest

from speedlight._foundation.errors import BadInput
from speedlight.engine.predict import predict
from speedlight.engine.steps.passes import Passes, passes
from speedlight.scenario.scenario import ModelRef, Parallel, Program, Scenario
from speedlight.workload.workload import Training, Workload


def asked(
    phase: str = "train", batch: int = 4, micro: int | None = None, machine: str = "a100-sxm-40gb", **degrees: int
) -> Scenario:
    workload = Workload(
        phase,
        batch,
        256,
        training=Training("none", micro_batch=micro, schedule="gpipe" if phase == "train" else "1f1b"),
    )
    return Scenario(
        (Program(ModelRef("gpt2-large", dtype="fp32"), workload, Parallel(**degrees), "transformers@4.35"),), machine
    )


def sound(p: Passes) -> None:
    for spell in (p.step, p.forward):
        assert spell.limit <= spell.low <= spell.time <= spell.high
    assert p.forward.time < p.step.time


@pytest.mark.parametrize("phase", ["forward", "train"])
def test_one_device_is_the_engines_step(phase: str) -> None:
    found = passes(asked(phase))
    assert found.step.time == pytest.approx(predict(asked(phase), details=False).time)
    if phase == "train":
        sound(found)
    else:
        assert found.forward.time == found.step.time


def test_replicas_take_their_share_and_reduce() -> None:
    alone, four = passes(asked(batch=1)), passes(asked(batch=4, dp=4))
    sound(four)
    assert alone.step.time < four.step.time < 1.5 * alone.step.time
    assert four.forward.time == pytest.approx(alone.forward.time)


def test_a_pipeline_of_one_micro_batch_saves_nothing_and_of_many_does() -> None:
    whole = passes(asked(batch=4)).step.time
    one, four = (passes(asked(batch=4, pp=4, micro=m)) for m in (4, 1))
    sound(four)
    assert whole < one.step.time < 1.01 * whole  # stages hand activations on
    assert four.step.time < whole


@pytest.mark.parametrize("degrees", [{"dp": 3}, {"pp": 64}])
def test_what_does_not_divide_is_refused(degrees: dict[str, int]) -> None:
    with pytest.raises(BadInput):
        passes(asked(batch=4, **degrees))
