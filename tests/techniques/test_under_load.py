"""Every technique on a load: refused with a reason, or an edit of something a simulation reads; and then its answer changes."""

from __future__ import annotations

import dataclasses

import pytest

from speedlight import make_scenario
from speedlight._foundation.errors import SpeedlightError, Unsupported
from speedlight.engine.serving.served_steps import served
from speedlight.engine.serving.simulate import answer
from speedlight.scenario.scenario import Parallel, Program, Scenario, Wire
from speedlight.scenario.scenario import Technique as Use
from speedlight.scenario.serving import Engines, Load, Serving
from speedlight.techniques.compose import Refused, applied, parsed
from speedlight.techniques.technique import catalogue
from speedlight.techniques.under_load import OF_A_CALL, OF_A_LAYOUT, READ_LAYOUT, READ_PROGRAM, READ_WORKLOAD
from speedlight.workload.workload import Workload

LOAD = Load(rate=6.0, isl=1024, osl=64, requests=40)


def asked(model: str = "llama-3.1-8b", machine: str = "h100-sxm-80gb", tp: int = 1) -> Scenario:
    return make_scenario(model, machine, stack="vllm", phase="decode", tp=tp).replace(serving=Serving(LOAD, Engines()))


def test_every_field_is_read_or_refused() -> None:
    """A field that a later change adds is neither, and this says so."""
    assert {f.name for f in dataclasses.fields(Workload)} == {*OF_A_CALL, *READ_WORKLOAD}
    assert {f.name for f in dataclasses.fields(Parallel)} == {*OF_A_LAYOUT, *READ_LAYOUT}
    assert {f.name for f in dataclasses.fields(Program)} >= set(READ_PROGRAM)


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("speculative-decoding", "further programs"),
        ("prompt-lookup", "drafts"),
        ("co-served-finetuning", "step's sequences"),
        ("best-of-n", "further programs"),
        ("tensor-parallel:degree=2", ""),
    ],
)
def test_what_a_load_would_not_see_is_refused(label: str, why: str) -> None:
    question = asked(machine="dgx-h100").replace(techniques=(parsed(label),))
    if not why:
        assert applied(question).program.parallel.tp == 2
        return
    with pytest.raises(Refused, match=why):
        applied(question)


def test_messages_that_hide_are_no_edit_of_a_load() -> None:
    with pytest.raises(Refused, match="how messages travel"):
        applied(asked(machine="dgx-h100", tp=2).replace(techniques=(Use("quantized-tensor-messages"),)))


@pytest.mark.parametrize("degrees", [{"dp": 2}, {"cp": 2}, {"wires": (Wire("tensor", share=0.5),)}])
def test_degrees_that_no_engine_has_are_refused(degrees: dict[str, object]) -> None:
    question = asked(machine="dgx-h100")
    with pytest.raises(Unsupported, match="not simulated"):
        served(question.with_program(parallel=Parallel(**degrees)))  # type: ignore[arg-type]


# What is accepted and leaves this very load as it is, and why.
NEUTRAL = {
    "confidential-computing": "it encrypts what crosses the link to the host, and nothing of this load does",
    "flex-attention": "its mask leaves out nothing that a causal kernel computes",
    "guaranteed-no-evict": "memory is never short",
    "masked-pruning": "its zeros are kept in dense weights, and are multiplied like others",
    "preempt-least-progress": "memory is never short",
    "swap-preemption": "memory is never short",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_technique_that_is_accepted_changes_the_answer(name: str) -> None:
    """On one load; those in NEUTRAL say why not."""
    base = asked()
    after, why = None, ""
    try:
        after = answer(applied(base.replace(techniques=(Use(name),))))
    except SpeedlightError as error:
        why = error.message
    if after is None:
        assert why, "a refusal says why"
        assert name not in NEUTRAL
        return
    before = answer(base)
    same = after.metrics == before.metrics and after.facts == before.facts
    assert same == (name in NEUTRAL), NEUTRAL.get(name, f"{name} changes nothing")
