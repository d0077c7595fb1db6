"""More samples a step, so that fewer steps are synchronised."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import training
from ...edits import with_workload
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _larger(subject: Subject, settings: Settings) -> Scenario:
    return with_workload(subject, batch=subject.workload.batch * settings["times"])


LARGE = register(Technique(
    name="large-batch",
    title="Large-batch training (LARS, LAMB, linear scaling)",
    family="training",
    mechanism="a step sees more samples for one synchronisation and one optimizer update",
    papers=("large-batch-optimization-for-deep-learning", "accurate-large-minibatch-sgd"),
    citation="Goyal et al., arXiv 1706.02677; You et al., arXiv 1904.00962",
    parameters=(Parameter("times", 4, "samples of a step over what they were", low=1, high=1e6, neutral=1, trials=(16,)),),
    edits=(Edit("workload", "batch", _larger),),
    refuse=training,
))  # fmt: skip
