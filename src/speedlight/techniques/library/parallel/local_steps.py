"""Local SGD and its kin: replicas meet once in a while, or late."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, replicated
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register
from ._compressed import unsharded


def _seldom(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "gradients", period=settings["period"])


def _seldom_and_late(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "gradients", period=settings["period"], lag=1, kept=1.0)


def _late(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "gradients", lag=1)


LOCAL_SGD = register(Technique(
    name="local-sgd",
    title="Local SGD (DiLoCo, post-local SGD)",
    family="parallel",
    mechanism="replicas step on their own and average weights once in H steps: 1/H of the messages, which then stand alone",
    papers=("a-quadratic-synchronization-rule-for-distributed-deep-learni",),
    citation="Stich, arXiv 1805.09767; Douillard et al., arXiv 2311.08105",
    parameters=(Parameter("period", 8.0, "steps from one average to the next", low=1, trials=(4.0, 64.0)),),
    edits=(Edit("placement", "wire:gradients:when", _seldom),),
    refuse=every(replicated, unsharded),
))  # fmt: skip

QUADRATIC = register(Technique(
    name="quadratic-synchronization",
    title="Quadratic synchronisation rule",
    family="parallel",
    mechanism="replicas average weights once in H steps, H growing as the learning rate falls: (growth / rate)², never below a floor",
    papers=("a-quadratic-synchronization-rule-for-distributed-deep-learni",),
    citation="Gu et al., arXiv 2310.14423",
    parameters=(Parameter("period", 5.0, "steps from one average to the next, the harmonic mean of a run's", low=1, trials=(10.0,)),),
    edits=(Edit("placement", "wire:gradients:when", _seldom),),
    refuse=every(replicated, unsharded),
    quality=(
        Quote("top-1 accuracy of ViT-B on ImageNet, 16 GPUs, Local AdamW", "+1.16 points over data parallel", "QSR, abstract"),
        Quote("top-1 accuracy of ViT-B on ImageNet, 64 GPUs, Local AdamW", "+0.84 points over data parallel", "QSR, abstract"),
    ),
))  # fmt: skip

CO2 = register(Technique(
    name="overlapped-local-steps",
    title="CO2: local steps with stale averages",
    family="parallel",
    mechanism="averages are taken once in a few steps and used one round late, so that the message has a whole round's computing to hide in",
    papers=("co2",),
    citation="Sun et al., arXiv 2401.16265",
    parameters=(Parameter("period", 4.0, "steps of a round", low=1, trials=(16.0,)),),
    edits=(Edit("placement", "wire:gradients:when", _seldom_and_late),),
    refuse=every(replicated, unsharded),
))  # fmt: skip

DELAYED = register(Technique(
    name="delayed-gradients",
    title="Gradients one step late",
    family="parallel",
    mechanism="each step updates with the gradients of the one before, whose exchange hides under a whole step",
    papers=("pipedream", "co2"),
    citation="Zhu et al., Delayed Gradient Averaging, NeurIPS 2021",
    edits=(Edit("placement", "wire:gradients:when", _late),),
    refuse=every(replicated, unsharded),
))  # fmt: skip
