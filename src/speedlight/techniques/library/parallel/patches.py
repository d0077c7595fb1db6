"""Diffusion on several devices: strips of the picture, exchanged in time, late or in part; parts of the network, late."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...conditions import every, runs
from ...edits import with_parallel, with_rewrite, with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

_DEGREE = Parameter("degree", 4, "devices", low=2, trials=(2, 8))


def _strips(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, cp=settings["degree"], context="gather")


def _late(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "context", lag=1)


def _late_in_part(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "context", lag=1, share=settings["seen"])


def _part_of_pairs(subject: Subject, settings: Settings) -> Scenario:
    """A strip's tokens attend to their own strip and to what is seen of the others."""
    own = 1 / float(settings["degree"])
    return with_rewrite(subject, "fewer_pairs", share=own + (1 - own) * settings["seen"])


def _denoises(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.graph.attrs.get("kind") != "diffusion":
        return Refusal("the model generates no pictures by denoising")
    if len(subject.scenario.programs) > 1:
        return Refusal("it is asked about one denoising step", "--phase forward")
    return Refusal("its pictures are in strips already") if subject.sharded("cp") else None


def _whole(subject: Subject, settings: Settings) -> Scenario:
    return _strips(dataclasses.replace(subject, scenario=_late(subject, settings)), settings)


PATCHES = register(Technique(
    name="patch-parallel",
    title="Patch parallelism",
    family="parallel",
    mechanism="each device denoises a strip of the picture; attention gathers all strips' keys and values, convolutions take their neighbours' edges",
    papers=("distrifusion", "asgdiffusion"),
    citation="Li et al., DistriFusion, arXiv 2402.19481 §4.1",
    parameters=(_DEGREE,),
    edits=(Edit("placement", "cp", _strips),),
    refuse=every(_denoises, runs(_strips)),
    exact=True,
))  # fmt: skip

DISPLACED = register(Technique(
    name="displaced-patch-parallel",
    title="DistriFusion: displaced patch parallelism",
    family="parallel",
    mechanism="strips use the other strips' activations of the step before, whose exchange hides under a whole denoising step",
    papers=("distrifusion",),
    citation="Li et al., DistriFusion, arXiv 2402.19481",
    parameters=(_DEGREE,),
    edits=(Edit("placement", "cp", _strips), Edit("placement", "wire:context:when", _late)),
    refuse=every(_denoises, runs(_whole)),
))  # fmt: skip

PARTIAL = register(Technique(
    name="partially-conditioned-patches",
    title="PCPP: strips that see part of their neighbours",
    family="parallel",
    mechanism="strips use parts of their neighbours' activations of the step before: fewer bytes, and fewer pairs that attention computes",
    papers=("partially-conditioned-patch-parallelism-for-accelerated-diff",),
    citation="Zhang et al., PCPP, arXiv 2412.02962",
    parameters=(_DEGREE, Parameter("seen", 0.3, "share of the other strips' tokens that travels and is attended to", low=0.0, high=1.0)),
    edits=(
        Edit("graph", "latent-attention", _part_of_pairs), Edit("placement", "cp", _strips), Edit("placement", "wire:context", _late_in_part),
    ),
    refuse=every(_denoises, runs(_whole)),
))  # fmt: skip
