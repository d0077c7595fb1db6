"""A second copy of sharded weights inside the box (hpZ), exactly the same numbers on fewer far links."""

from __future__ import annotations

import numpy as np

from ....scenario.scenario import Scenario
from ...conditions import every, replicated, runs
from ...edits import with_parallel
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _near(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, near=settings["ranks"])


def _sharded(subject: Subject, settings: Settings) -> Refusal | None:
    if np.all(np.asarray(subject.parallel.zero) == 3):
        return None
    return Refusal("no weights are gathered from shards", "--zero 3 first")


NEAR = register(Technique(
    name="hierarchical-partitioning",
    title="Secondary weight partition near by (ZeRO++ hpZ)",
    family="parallel",
    mechanism="backward passes gather weights from a second copy that spreads over few near ranks: half the far gathers for a share of memory",
    papers=("scaling-large-language-model-training-on-frontier-with-low-b",),
    citation="Wang et al., arXiv 2306.10209 §3.2",
    parameters=(Parameter("ranks", 8, "ranks the second copy spreads over", low=1, trials=(2,)),),
    edits=(Edit("placement", "near", _near),),
    refuse=every(replicated, _sharded, runs(_near)),
    exact=True,
))  # fmt: skip
