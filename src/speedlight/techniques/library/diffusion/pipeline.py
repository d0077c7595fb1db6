"""What techniques of this family edit: a denoiser's steps, alone or in a pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ....engine.questions.asked import DENOISER
from ....scenario.scenario import Program, Rewrite, Scenario
from ...subject import Subject
from ...technique import Refusal


def denoises(subject: Subject, settings: Any) -> Refusal | None:
    """The model is a denoiser."""
    if subject.graph.attrs.get("kind") == "diffusion":
        return None
    return Refusal("the model denoises nothing", "a diffusion model such as sd-1.5 or flux.1-dev")


def whole(subject: Subject, settings: Any) -> Refusal | None:
    """The question is about a whole pipeline: all steps of it."""
    refusal = denoises(subject, settings)
    if refusal is not None:
        return refusal
    if any(p.name == DENOISER for p in subject.scenario.programs):
        return None
    return Refusal("one denoising step is asked about, not a pipeline of them", "ask with --phase generate")


def is_step(program: Program) -> bool:
    """One of the programs that denoise."""
    return program.name == DENOISER or program.name.startswith(f"{DENOISER}-")


def steps_of(scenario: Scenario) -> Any:
    """Denoising steps in all."""
    return sum(p.repeats for p in scenario.programs if is_step(p))


def with_steps(scenario: Scenario, change: Any) -> Scenario:
    """Every program that denoises changed."""
    programs = tuple(change(p) if is_step(p) else p for p in scenario.programs)
    return scenario.replace(programs=programs)


def split(scenario: Scenario, parts: Sequence[tuple[str, Any, Sequence[Rewrite]]]) -> Scenario:
    """The denoiser's steps as several programs, one after the other, on the same weights.

    Args:
        parts: (name, share of the steps, rewrites of those steps) each; the first keeps the denoiser's own name.
    """
    programs: list[Program] = []
    for program in scenario.programs:
        if program.name != DENOISER:
            programs.append(program)
            continue
        for number, (name, share, rewrites) in enumerate(parts):
            model = dataclasses.replace(program.model, rewrites=(*program.model.rewrites, *rewrites))
            label = DENOISER if number == 0 else f"{DENOISER}-{name}"
            owner = "" if number == 0 else DENOISER
            programs.append(
                dataclasses.replace(program, name=label, model=model, repeats=program.repeats * share, shares=owner)
            )
    return scenario.replace(programs=tuple(programs))
