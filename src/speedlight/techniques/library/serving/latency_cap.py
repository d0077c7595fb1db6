"""As many sequences and prompt tokens a step as an objective for the time per token leaves room for."""

from __future__ import annotations

import numpy as np

from ....engine.serving.served_steps import served
from ....scenario.scenario import Scenario
from ....serving.steps import StepShape
from ...conditions import every, generates, with_load
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

SIZES = np.unique(np.round(np.geomspace(1, 4096, 200)))


def _largest(subject: Subject, bound: float) -> int:
    """Sequences of the load's middle length whose decode step stays within the bound; 0 where none does."""
    serving = subject.serving
    priced = served(
        subject.scenario.replace(serving=None), serving.engines.attention_dp, serving.engines.memory_utilisation
    )
    shape = StepShape.decode(SIZES, serving.load.isl + serving.load.osl / 2)
    seconds = priced.tables.device_seconds(shape) + priced.tables.host_seconds(shape)
    within = SIZES[seconds <= bound]
    return int(within.max()) if within.size else 0


def _capped(subject: Subject, settings: Settings) -> Scenario:
    found = _largest(subject, settings["seconds"])
    return subject.scenario.replace(serving=subject.serving.with_engines(max_seqs=max(found, 1)))


def _possible(subject: Subject, settings: Settings) -> Refusal | None:
    if _largest(subject, settings["seconds"]):
        return None
    return Refusal(
        f"one sequence's step alone takes longer than {settings['seconds']:g} s", "a layout with a higher --tp"
    )


LATENCY_CAP = register(Technique(
    name="slo-aware-batching",
    title="Batches sized by an objective for the time per token",
    family="serving",
    mechanism="the scheduler runs no more sequences at once than their step time allows; the rest waits: time per token is kept at the price of time to first token",
    papers=("hexgen-text2sql", "uellm"),
    citation="HexGen-Text2SQL, arXiv 2505.05286; UELLM, arXiv 2409.14961",
    parameters=(Parameter("seconds", 0.05, "time per output token at most", "s", low=1e-4, high=10.0, trials=(0.02,)),),
    edits=(Edit("serving", "serving.sequences", _capped),),
    refuse=every(with_load, generates, _possible),
    exact=True,
))  # fmt: skip
