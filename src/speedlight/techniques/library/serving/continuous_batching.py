"""Requests join and leave a batch at every step."""

from __future__ import annotations

from ....engine.serving.deploy import scheduler
from ....scenario.scenario import Scenario
from ...conditions import every, generates, with_load
from ...edits import with_rules
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _static_only(subject: Subject, settings: Settings) -> Refusal | None:
    static = scheduler(subject.serving.engines, subject.stack.id).static
    return None if static else Refusal("the scheduler batches at every step already", "compare with --policy static")


def _each_step(subject: Subject, settings: Settings) -> Scenario:
    return with_rules(subject, static=False, mixed=True, chunked=False)


CONTINUOUS_BATCHING = register(Technique(
    name="continuous-batching",
    title="Continuous batching (iteration-level scheduling)",
    family="serving",
    mechanism="a request joins at the next step and leaves when it ends, instead of waiting for the whole batch: weights are read once for more sequences",
    papers=("flover",),
    citation="Orca, OSDI 2022; Flover, arXiv 2305.13484",
    edits=(Edit("serving", "serving.batching", _each_step),),
    refuse=every(with_load, generates, _static_only),
    exact=True,
))  # fmt: skip
