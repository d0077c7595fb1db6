"""Weights updated in place, without a wider copy."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, training
from ...edits import with_training
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _in_place(subject: Subject, settings: Settings) -> Scenario:
    return with_training(subject, master="none")


def _has_copy(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.training.master == "none":
        return Refusal("there is no wider copy of the weights")
    return None


MASTER = register(Technique(
    name="no-master-weights",
    title="Pure 16-bit training (no fp32 master weights)",
    family="training",
    mechanism="the optimizer updates 16-bit weights themselves (with stochastic rounding): no fp32 copy is kept, read or written",
    citation="Zamirai et al., Revisiting BFloat16 Training, arXiv 2010.06192",
    edits=(Edit("workload", "master", _in_place),),
    refuse=every(training, _has_copy),
))  # fmt: skip
