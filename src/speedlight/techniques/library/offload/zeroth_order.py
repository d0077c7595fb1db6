"""ZO2: fine-tuning by two forward passes, whose blocks' weights are streamed once for both."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ....workload.workload import Training
from ...placing import offloaded_training
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register


def _two_forwards(subject: Subject, settings: Settings) -> Scenario:
    w = subject.workload
    place = Place("weights", "host", settings["share"])
    asked = dataclasses.replace(w, phase="forward", batch=2 * w.batch, training=Training(), places=(place,))
    plain = dataclasses.replace(subject.parallel, dp=1, zero=0, cp=1, sp=0, pp=1)
    return subject.scenario.with_program(workload=asked, parallel=plain)


def _alone(subject: Subject, settings: Settings) -> Refusal | None:
    if any(subject.sharded(axis) for axis in ("dp", "pp", "cp")):
        return Refusal("it is laid over one device by this version", "--dp 1 --pp 1 --cp 1")
    return offloaded_training(subject, settings)


ZEROTH_ORDER = register(Technique(
    name="zeroth-order-offload",
    title="Zeroth-order fine-tuning with streamed blocks (ZO2)",
    family="offload",
    mechanism="two forward passes with perturbed weights stand for forward and backward: nothing is saved, a block's weights cross once",
    papers=("zo2",),
    citation="ZO2, arXiv 2503.12668; MeZO, arXiv 2305.17333",
    parameters=(Parameter("share", 1.0, "share of the weights kept in host memory", low=0.0, high=1.0, trials=(0.0,)),),
    edits=(Edit("workload", "training.offload", _two_forwards),),
    refuse=_alone,
    quality=(Quote("accuracy against zeroth-order fine-tuning without offload", "no loss", "ZO2, abstract"),),
    also=("zero-infinity", "activation-offload", "overlapped-state-swaps"),
))  # fmt: skip
