"""Low-bandwidth partitioning on machines of three levels: each of ZeRO's classes on the links it can bear."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...conditions import every, replicated, runs
from ...edits import with_parallel, with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register

PASSES = 1.5


def _partition(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, zero=3, shard=settings["box"], near=settings["pair"])


def _weights(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "weights", share=settings["weights"] / 16.0, passes=PASSES)


def _gradients(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "gradients", share=settings["gradients"] / 16.0, passes=2 * PASSES)


def _whole(subject: Subject, settings: Settings) -> Scenario:
    return _partition(dataclasses.replace(subject, scenario=_weights(subject, settings)), settings)


LOW_BANDWIDTH = register(Technique(
    name="low-bandwidth-partitioning",
    title="Three-level partitioning of ZeRO states",
    family="parallel",
    mechanism="weights are gathered inside a box, backward passes inside a pair, and only gradients cross boxes once a micro-batch; messages travel in few bits",
    papers=("scaling-large-language-model-training-on-frontier-with-low-b",),
    citation="Xu et al., Scaling LLM Training on Frontier with Low-Bandwidth Partitioning, arXiv 2501.04266",
    parameters=(
        Parameter("box", 8, "ranks weights, gradients and states spread over", low=2),
        Parameter("pair", 2, "ranks of the second copy", low=1),
        Parameter("weights", 8.0, "bits of gathered weights", "bit", low=1, high=16),
        Parameter("gradients", 4.0, "bits of reduced gradients", "bit", low=1, high=16),
    ),
    edits=(
        Edit("placement", "near", _partition), Edit("placement", "zero", lambda subject, settings: subject.scenario),
        Edit("placement", "wire:weights", _weights), Edit("placement", "wire:gradients", _gradients),
    ),
    refuse=every(replicated, runs(_whole)),
))  # fmt: skip
