"""A step's batch in pieces whose gradients add up."""

from __future__ import annotations

import numpy as np

from ...._foundation.arrays import Value
from ....scenario.scenario import Scenario
from ...conditions import every, training
from ...edits import with_training
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _share(subject: Subject) -> Value:
    """Samples of a replica in one pass."""
    micro = subject.training.micro_batch
    return subject.workload.batch / subject.parallel.dp if micro is None else micro


def _pieces(subject: Subject, settings: Settings) -> Scenario:
    return with_training(subject, micro_batch=_share(subject) / settings["steps"])


def _divides(subject: Subject, settings: Settings) -> Refusal | None:
    share = np.asarray(_share(subject), dtype=float)
    if np.all(share % settings["steps"] == 0):
        return None
    return Refusal(
        f"{float(share.min()):g} samples of a pass do not divide by {settings['steps']}", "a smaller number of steps"
    )


ACCUMULATE = register(Technique(
    name="gradient-accumulation",
    title="Gradient accumulation",
    family="training",
    mechanism="the batch runs in pieces: activations of one piece live at a time, gradients add up, the optimizer runs once",
    citation="Huang et al., GPipe, arXiv 1811.06965 §2.2",
    parameters=(Parameter("steps", 2, "pieces of each pass", low=1, high=65536, neutral=1, trials=(4, 8)),),
    edits=(Edit("workload", "micro_batch", _pieces),),
    refuse=every(training, _divides),
    exact=True,
))  # fmt: skip
