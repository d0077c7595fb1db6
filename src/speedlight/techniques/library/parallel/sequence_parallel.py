"""Megatron's sequence parallelism: what tensor parallelism leaves whole is divided by tokens."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, runs, tensor_parallel, training
from ...edits import with_parallel
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _divide(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, sp=1)


def _already(subject: Subject, settings: Settings) -> Refusal | None:
    return Refusal("tokens are divided already") if subject.sharded("sp") or subject.parallel.sp == 1 else None


SEQUENCE_PARALLEL = register(Technique(
    name="sequence-parallel",
    title="Sequence parallelism beside tensor parallelism (Megatron-LM)",
    family="parallel",
    mechanism="norms, residual sums and dropout see each rank's tokens only; all-gathers and reduce-scatters take the place of all-reduces, the same bytes",
    citation="Korthikanti et al., arXiv 2205.05198 §4.2.2",
    edits=(Edit("placement", "sp", _divide),),
    refuse=every(training, tensor_parallel, _already, runs(_divide)),
    exact=True,
))  # fmt: skip
