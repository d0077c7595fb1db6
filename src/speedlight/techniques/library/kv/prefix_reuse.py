"""Prompts whose first part, or known parts, have been read before."""

from __future__ import annotations

import numpy as np

from ....scenario.scenario import Scenario
from ...caches import reads_prompts
from ...conditions import every, generates, phases
from ...edits import with_workload
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _reused(subject: Subject, settings: Settings) -> Scenario:
    """Whole tokens, at least one of each prompt left to compute."""
    isl = subject.workload.isl
    hit = np.minimum(np.floor(np.asarray(isl) * settings["hit"]), np.asarray(isl) - 1.0)
    return with_workload(subject, reused=hit if np.ndim(hit) else int(hit))


REUSE = register(Technique(
    name="prefix-reuse",
    title="Reuse of attention states of known prompt parts (Prompt Cache)",
    family="kv",
    mechanism="keys and values of the known part of a prompt are there already: its tokens are read by attention and not computed",
    papers=("prompt-cache",),
    citation="Prompt Cache, arXiv 2311.04934",
    parameters=(
        Parameter("hit", 0.8, "share of a prompt that is known", low=0.0, high=1.0, neutral=0.0, trials=(0.95,)),
    ),
    edits=(Edit("workload", "prompt", _reused),),
    refuse=every(generates, reads_prompts, phases("prefill", "generate")),
    exact=True,
))  # fmt: skip
