"""Degrees traded for one another: a training step keeps its devices where replicas can give some up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....scenario.scenario import Scenario
from ...edits import with_parallel
from ...subject import Subject


def traded(subject: Subject, axis: str, degree: Any, **more: Any) -> Scenario:
    """The axis at a degree; in training the replicas become as many fewer where they divide, else devices are added."""
    before, replicas = getattr(subject.parallel, axis), subject.parallel.dp
    factor = np.asarray(degree) / np.asarray(before)
    changes: dict[str, Any] = {axis: degree, **more}
    if subject.phase == "train" and np.all(np.asarray(replicas) % np.maximum(factor, 1) == 0):
        left = replicas / factor
        changes["dp"] = left if np.ndim(left) else int(left)
    return with_parallel(subject, **changes)
