"""Optimizer states in fewer bits."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, training
from ...edits import with_training
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _narrow(subject: Subject, settings: Settings) -> Scenario:
    return with_training(subject, states=settings["format"])


def _stateful(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.training.optimizer in ("sgd", "none"):
        return Refusal(f"{subject.training.optimizer} keeps no states")
    return None


STATES = register(Technique(
    name="low-bit-optimizer-states",
    title="8-bit optimizer states",
    family="training",
    mechanism="the optimizer's moments are kept, read and written in a narrower format, widened block by block in the update",
    citation="Dettmers et al., 8-bit Optimizers via Block-wise Quantization, arXiv 2110.02861",
    parameters=(Parameter("format", "int8", "format of the states", choices=("int8", "fp8", "bf16", "fp32"), neutral="fp32", trials=("bf16",)),),
    edits=(Edit("workload", "states", _narrow),),
    refuse=every(training, _stateful),
))  # fmt: skip
