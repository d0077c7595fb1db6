"""AsyncDiff: parts of a denoiser on several devices, each on what the part before made a step ago."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...conditions import every, runs
from ...edits import with_parallel, with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _parts(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, pp=settings["degree"])


def _late(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "stages", lag=1)


def _whole(subject: Subject, settings: Settings) -> Scenario:
    return _parts(dataclasses.replace(subject, scenario=_late(subject, settings)), settings)


def _denoises(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.graph.attrs.get("kind") != "diffusion":
        return Refusal("the model generates no pictures by denoising")
    if len(subject.scenario.programs) > 1:
        return Refusal("it is asked about one denoising step", "--phase forward")
    if len(subject.graph.blocks) < 2:
        return Refusal(
            "a U-Net's levels are one block here, which no stage takes a part of", "displaced-patch-parallel"
        )
    return Refusal("its layers are divided already") if subject.sharded("pp") else None


ASYNCHRONOUS = register(Technique(
    name="asynchronous-denoising",
    title="AsyncDiff: layers on several devices, a step late",
    family="parallel",
    mechanism="each device runs a part of the denoiser on the part before's output of the last denoising step, so that all run at once",
    papers=("asyncdiff", "minute-long-videos-with-dual-parallelisms"),
    citation="Chen et al., AsyncDiff, arXiv 2406.06911",
    parameters=(Parameter("degree", 4, "parts", low=2, trials=(2, 8)),),
    edits=(Edit("placement", "pp", _parts), Edit("placement", "wire:stages:when", _late)),
    refuse=every(_denoises, runs(_whole)),
))  # fmt: skip
