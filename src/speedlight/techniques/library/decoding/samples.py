"""Several answers sampled, one kept."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...conditions import every, phases
from ...speculation import speculates
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _sampled(subject: Subject, settings: Settings) -> Scenario:
    """N continuations until all but one are stopped, then that one; a call is a token of the answer that stays."""
    n, until = settings["samples"], settings["until"]
    if n == 1:
        return subject.scenario
    main = subject.program
    many = dataclasses.replace(
        main,
        name="samples",
        repeats=until,
        workload=dataclasses.replace(main.workload, batch=main.workload.batch * n),
        shares=main.name,
    )
    alone = dataclasses.replace(main, repeats=max(1.0 - until, 1e-9))
    return subject.scenario.replace(programs=(many, alone), main=main.name)


BEST = register(Technique(
    name="best-of-n",
    title="Best of N samples, all but one stopped early",
    family="decoding",
    mechanism="N continuations of a prompt are generated as one batch; from a share of the length on only the likeliest goes on, so batch and cache shrink from N to 1",
    papers=("sampling-efficient-test-time-scaling",),
    citation="Self-Truncation Best-of-N, arXiv 2503.01422",
    parameters=(
        Parameter("samples", 8, "continuations, N", low=1, high=1024, neutral=1, trials=(4,)),
        Parameter("until", 1.0, "share of the length after which one is left; 1 for full best-of-N", low=1e-3, high=1.0, trials=(0.1,)),
    ),
    edits=(Edit("schedule", "speculation", _sampled),),
    refuse=every(speculates, phases("decode")),
    quality=(Quote("against full best-of-N", "comparable accuracy, reasoning and open-ended tasks", "abstract"),),
    whatif=False,
))  # fmt: skip
