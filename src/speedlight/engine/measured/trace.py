"""Files as the user names them → the object of ``diagnose``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadInput
from ...measurement.traces.read import read_set, read_trace
from ...measurement.traces.served import is_served, read_served
from ...scenario.scenario import Scenario
from ..predict import predict
from .diagnose import Diagnosis, diagnose
from .ranks import difference, together
from .served import diagnose_served


def diagnose_files(
    paths: Sequence[Path], machine: str, question: Scenario | None, against: Path | None, stack: str
) -> dict[str, Any]:
    """See :func:`speedlight.diagnose`.

    Returns:
        ``traces`` (one object each), and where they apply ``ranks``, ``predicted``, ``difference``; of a server's benchmark
        the object of :class:`.served.ServedDiagnosis`.
    """
    if len(paths) == 1 and paths[0].is_file() and is_served(paths[0]):
        if question is None:
            raise BadInput(
                "a server's benchmark names no model that we know", expected="--model MODEL beside --on MACHINE"
            )
        return diagnose_served(read_served(paths[0]), question).to_dict()
    found = [diagnose(trace, machine, stack) for trace in read_set(paths)]
    answer: dict[str, Any] = {"traces": [d.to_dict() for d in found]}
    if len(found) > 1:
        answer["ranks"] = together(found)
    if question is not None:
        answer["predicted"] = _predicted(found, question)
    if against is not None:
        slowest = max(found, key=lambda d: d.where.window)
        answer["difference"] = difference(slowest, diagnose(read_trace(against), machine, stack))
    return answer


def _predicted(found: Sequence[Diagnosis], question: Scenario) -> dict[str, Any]:
    """The whole step beside the model's prediction; without marked steps the whole trace counts as one."""
    slowest = max(found, key=lambda d: d.where.window)
    steps = slowest.where.steps or 1
    answer = predict(question, details=False)
    return {
        "measured": slowest.where.window / steps, "per": f"a step of {steps}" if slowest.where.steps else "the whole trace, which marks no steps",
        "time": float(answer.time), "low": float(answer.low), "high": float(answer.high), "limit": float(answer.limit),
    }  # fmt: skip
