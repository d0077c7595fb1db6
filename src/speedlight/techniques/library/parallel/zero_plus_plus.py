"""ZeRO++: quantised weights and gradients on the links, and a second copy of the weights near by."""

from __future__ import annotations

import dataclasses

import numpy as np

from ....scenario.scenario import Scenario
from ...conditions import every, replicated, runs
from ...edits import with_parallel, with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

SCALES = 1.0 + 16.0 / (8.0 * 2048)  # a 16-bit scale for each block of 2,048 elements of 8 bits
PASSES = 1.5  # a 16-bit read and an 8-bit write, and the same back, over the 16-bit payload


def _weights(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "weights", share=settings["weights"] / 16.0 * SCALES, passes=PASSES)


def _gradients(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "gradients", share=settings["gradients"] / 16.0 * SCALES, passes=2 * PASSES)


def _near(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, near=settings["near"])


def _whole(subject: Subject, settings: Settings) -> Scenario:
    changed = dataclasses.replace(subject, scenario=_weights(subject, settings))
    changed = dataclasses.replace(changed, scenario=_gradients(changed, settings))
    return _near(changed, settings)


def _sharded(subject: Subject, settings: Settings) -> Refusal | None:
    if np.all(np.asarray(subject.parallel.zero) == 3):
        return None
    return Refusal("no weights are gathered from shards", "--zero 3 first")


ZERO_PLUS_PLUS = register(Technique(
    name="zero-plus-plus",
    title="ZeRO++ (qwZ, hpZ, qgZ)",
    family="parallel",
    mechanism="gathered weights travel in 8 bits, gradients in 4 by a hierarchical all-to-all, and backward passes gather from a second copy inside the box",
    papers=("scaling-large-language-model-training-on-frontier-with-low-b",),
    citation="Wang et al., arXiv 2306.10209",
    parameters=(
        Parameter("weights", 8.0, "bits of gathered weights", "bit", low=1, high=16),
        Parameter("gradients", 4.0, "bits of reduced gradients", "bit", low=1, high=16),
        Parameter("near", 8, "ranks the second copy spreads over", low=1),
    ),
    edits=(
        Edit("placement", "wire:gradients", _gradients), Edit("placement", "wire:weights", _weights), Edit("placement", "near", _near),
    ),
    refuse=every(replicated, _sharded, runs(_whole)),
))  # fmt: skip
