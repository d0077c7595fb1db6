"""Denoising that starts from a similar earlier picture's noise."""

from __future__ import annotations

import dataclasses

from ....engine.questions.asked import DENOISER
from ....scenario.scenario import Scenario
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _fewer(subject: Subject, settings: Settings) -> Scenario:
    skipped = settings["hits"] * settings["skipped"]
    programs = tuple(
        dataclasses.replace(p, repeats=p.repeats * (1.0 - skipped)) if p.name == DENOISER else p
        for p in subject.scenario.programs
    )
    return subject.scenario.replace(programs=programs)


def _denoises(subject: Subject, settings: Settings) -> Refusal | None:
    if any(p.name == DENOISER for p in subject.scenario.programs) and len(subject.scenario.programs) > 1:
        return None
    return Refusal("nothing is denoised over steps in this question", "a diffusion model with --phase generate")


APPROXIMATE_CACHING = register(Technique(
    name="approximate-caching",
    title="Approximate caching of noise states (NIRVANA)",
    family="serving",
    mechanism="on a hit the first K of N denoising steps are skipped by starting from a cached intermediate state: expected steps are N (1 − hits · K/N); text encoder and decoder stay",
    papers=("approximate-caching-for-efficiently-serving-diffusion-models",),
    citation="Agarwal et al., NSDI 2024, arXiv 2312.04429",
    parameters=(
        Parameter("hits", 0.5, "share of requests that find a similar one", low=0.0, high=1.0, neutral=0.0),
        Parameter("skipped", 0.4, "share of the denoising steps a hit skips", low=0.0, high=0.95, neutral=0.0),
    ),
    edits=(Edit("workload", "workload.steps", _fewer),),
    refuse=_denoises,
))  # fmt: skip
