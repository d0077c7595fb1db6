"""Another optimizer: fewer states to keep, read and write."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, training
from ...edits import with_training
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _other(subject: Subject, settings: Settings) -> Scenario:
    return with_training(subject, optimizer=settings["name"])


def _differs(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.training.optimizer == settings["name"]:
        return Refusal(f"{settings['name']} is the optimizer already")
    return None


OPTIMIZER = register(Technique(
    name="lean-optimizer",
    title="An optimizer with one state, or none (Lion, SGD)",
    family="training",
    mechanism="one moment instead of two, or none, is kept for each parameter",
    citation="Chen et al., Symbolic Discovery of Optimization Algorithms (Lion), arXiv 2302.06675",
    parameters=(Parameter("name", "lion", "the optimizer", choices=("lion", "sgd_momentum", "sgd"), trials=("sgd",)),),
    edits=(Edit("workload", "optimizer", _other),),
    refuse=every(training, _differs),
))  # fmt: skip
