"""Changes and refusals of techniques that keep something outside the device."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..scenario.scenario import Scenario
from ..workload.places import Place
from .conditions import Condition, every, generates, has, inference
from .edits import with_software, with_training
from .subject import Subject
from .technique import Refusal, Settings


def with_place(subject: Subject, place: Place) -> Scenario:
    """A class of an inference kept elsewhere; what was said of that class before is replaced."""
    others = tuple(p for p in subject.workload.places if p.cls != place.cls)
    return subject.scenario.with_workload(places=(*others, place))


def changed_places(subject: Subject, **changes: Any) -> Scenario:
    """Every place of the question with fields replaced."""
    places = tuple(dataclasses.replace(p, **changes) for p in subject.workload.places)
    return subject.scenario.with_workload(places=places)


def with_transfers(subject: Subject, **ways: Any) -> Scenario:
    """How the stack brings what is outside (:mod:`speedlight.stacks.transfers`)."""
    return with_software(subject, {"attrs": {"offload": ways}})


def with_offloaded(subject: Subject, tier: str, *classes: str) -> Scenario:
    """Classes of a training step kept in a tier."""
    there = {**dict(subject.training.offload), **dict.fromkeys(classes, tier)}
    return with_training(subject, offload=tuple(there.items()))


def _linked(subject: Subject, settings: Settings) -> Refusal | None:
    if any(link.role == "host" for link in subject.machine.links):
        return None
    return Refusal(f"{subject.machine.name} states no link to a host", "a card with host memory behind a link")


def _whole(subject: Subject, settings: Settings) -> Refusal | None:
    if np.any(np.asarray(subject.parallel.pp) > 1):
        return Refusal("offload over pipeline stages is executed in training steps only", "--pp 1")
    return None


def _outside(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.workload.places:
        return None
    return Refusal("the question keeps nothing outside the device", "--offload weights:host, or a technique that does")


def not_yet(*classes: str) -> Condition:
    """None of these classes is kept outside already."""

    def refuse(subject: Subject, settings: Settings) -> Refusal | None:
        there = next((p for p in subject.workload.places if p.cls in classes), None)
        return (
            None if there is None else Refusal(f"{there.cls} lie in {there.tier} memory already", "leave out --offload")
        )

    return refuse


hosted: Condition = every(inference, _linked, _whole)
weights_outside: Condition = every(hosted, has("matmul", "moe", "conv", what="weights"), not_yet("weights"))
kv_outside: Condition = every(hosted, generates, not_yet("kv"))
experts_outside: Condition = every(hosted, has("moe", what="experts"), not_yet("experts"))
offloading: Condition = every(inference, _outside)


def offloaded_training(subject: Subject, settings: Settings) -> Refusal | None:
    """It is a training step on a machine with a link to a host."""
    if subject.phase != "train":
        return Refusal("it is for training", "ask with --phase train")
    return _linked(subject, settings)
