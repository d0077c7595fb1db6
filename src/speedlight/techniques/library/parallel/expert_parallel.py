"""Expert parallelism: experts over ranks, tokens to them and back."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has, runs
from ...edits import with_parallel
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _divide(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, ep=settings["degree"])


def _alone(subject: Subject, settings: Settings) -> Refusal | None:
    return Refusal("its experts are divided already", "another --ep") if subject.sharded("ep") else None


EXPERT_PARALLEL = register(Technique(
    name="expert-parallel",
    title="Expert parallelism",
    family="parallel",
    mechanism="each rank holds some of the experts; tokens travel to the ranks of theirs and back",
    papers=("tutel", "towards-crowdsourced-training-of-large-neural-networks-using"),
    citation="Lepikhin et al., arXiv 2006.16668",
    parameters=(Parameter("degree", 8, "ranks", low=2, trials=(2, 4)),),
    edits=(Edit("placement", "ep", _divide),),
    refuse=every(has("moe", what="experts"), _alone, runs(_divide)),
    exact=True,
))  # fmt: skip
