"""As many sequences as fit."""

from __future__ import annotations

import dataclasses

from ....engine.answers.fit import largest_batches
from ....scenario.scenario import Scenario
from ...conditions import every, generates, phases
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _filled(subject: Subject, settings: Settings) -> Scenario:
    """Every program that decodes runs the batch the whole call has room for; at least the one asked for where that fits."""
    before = subject.workload.batch
    batch = largest_batches(subject.scenario, most=settings["most"])
    programs = tuple(
        dataclasses.replace(p, workload=dataclasses.replace(p.workload, batch=p.workload.batch * (batch / before)))
        for p in subject.scenario.programs
    )
    return subject.scenario.replace(programs=programs)


FILL = register(Technique(
    name="fill-memory",
    title="The batch grown to what memory holds",
    family="kv",
    mechanism="freed memory takes further sequences until it is full: what capacity alone is worth (1/(1 − share freed) in the batch)",
    citation="continuous batching admits while blocks are free: vLLM, arXiv 2309.06180",
    parameters=(Parameter("most", 4096, "sequences at most", low=1),),
    edits=(Edit("serving", "batch", _filled),),
    refuse=every(generates, phases("decode", "generate")),
    exact=True,
))  # fmt: skip
