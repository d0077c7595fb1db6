"""Fewer passes of the denoiser: distilled or better chosen steps, no second pass for guidance."""

from __future__ import annotations

import dataclasses

import numpy as np

from ....scenario.scenario import Program, Scenario
from ...conditions import every, inference
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from .pipeline import is_step, steps_of, whole, with_steps


def _fewer(subject: Subject, settings: Settings) -> Scenario:
    share = np.minimum(settings["steps"] / steps_of(subject.scenario), 1.0)
    return with_steps(subject.scenario, lambda p: dataclasses.replace(p, repeats=p.repeats * share))


FEWER_STEPS = register(Technique(
    name="fewer-steps",
    title="Step distillation and learnt schedules (latent consistency, PixArt-δ, optimal linear subspace search)",
    family="diffusion",
    mechanism="a distilled model, or a learnt sampler, needs fewer passes of the denoiser for an image; a pass is what it was",
    papers=("pixart", "optimal-linear-subspace-search"),
    citation="LCM, arXiv 2310.04378; PixArt-δ, arXiv 2401.05252; OLSS, arXiv 2305.14677",
    parameters=(Parameter("steps", 4, "passes of the denoiser, at most those asked for", "step", low=1, trials=(2, 8), source="PixArt-δ, arXiv 2401.05252, abstract: 2 to 4 steps"),),
    edits=(Edit("workload", "steps", _fewer),),
    refuse=every(inference, whole),
))  # fmt: skip


def without_guidance(scenario: Scenario) -> Scenario:
    """Each step once, not with and without the prompt; the empty prompt is not encoded."""

    def once(program: Program) -> Program:
        if is_step(program):
            symbols = {**program.workload.symbols, "passes": 1}
            return dataclasses.replace(program, workload=dataclasses.replace(program.workload, symbols=symbols))
        return dataclasses.replace(program, repeats=1) if program.name.startswith("text_encoder") else program

    return scenario.replace(programs=tuple(once(p) for p in scenario.programs))


def _twice(subject: Subject, settings: Settings) -> Refusal | None:
    if np.any(np.asarray(subject.workload.symbols.get("passes", 1)) > 1):
        return None
    return Refusal("each step runs once already", "a model whose guidance is a second pass, or --guidance on")


GUIDANCE = register(Technique(
    name="guidance-distillation",
    title="Guidance distilled into the denoiser",
    family="diffusion",
    mechanism="a step runs once with the guidance's strength as an input, instead of once with and once without the prompt",
    citation="On distillation of guided diffusion models, arXiv 2210.03142",
    edits=(Edit("workload", "guidance", lambda subject, settings: without_guidance(subject.scenario)),),
    refuse=every(inference, whole, _twice),
))  # fmt: skip


def _one(subject: Subject, settings: Settings) -> Scenario:
    """One pass, in which the layers run again and again with the same weights until they settle."""
    count = settings["iterations"] / steps_of(subject.scenario)
    found = with_steps(subject.scenario, lambda p: dataclasses.replace(p, repeats=p.repeats * count))
    return without_guidance(found)


EQUILIBRIUM = register(Technique(
    name="one-step-equilibrium",
    title="One step through a deep equilibrium transformer",
    family="diffusion",
    mechanism="all denoising passes collapse into one pass whose layers share weights and are iterated to a fixed point: passes are traded for iterations",
    papers=("one-step-diffusion-distillation-via-deep-equilibrium-models",),
    citation="One-step diffusion distillation via deep equilibrium models, NeurIPS 2023",
    parameters=(Parameter("iterations", 6, "passes through the layers until they settle", "pass", low=1, trials=(2, 12)),),
    edits=(Edit("workload", "steps", _one), Edit("workload", "guidance", lambda subject, settings: subject.scenario)),
    refuse=every(inference, whole),
))  # fmt: skip
