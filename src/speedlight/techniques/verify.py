"""A technique applied to a real module here, beside what was predicted of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..engine.answers.prediction import Prediction
from ..engine.measured.beside import recipe_of
from ..measurement.applied.beside import Beside, beside
from ..measurement.applied.elsewhere import REASONS
from ..measurement.applied.method import Method, methods
from ..measurement.bench.context import busy, circumstances, moment
from ..scenario.scenario import Scenario
from .compose import Refused, Set, parsed, refused, settled
from .gains import Gain
from .technique import Refusal
from .whatif import whatif

NONE = 0.05  # changes of less count as none: what a quiet machine's own runs differ by


def verify(scenario: Scenario, label: str, seconds: float = 4.0) -> dict[str, Any]:
    """Run a module with and without a technique, compare the outputs, and set the measured gain beside the predicted one.

    The model's code is run, and the library's that applies the technique; the model was named by the user.

    Args:
        scenario: one program of a module that can be run (a factory or one of timm's names), ``forward`` or ``train``, on a host
            (``here``, or a machine file that ``measure`` wrote).
        label: the technique, as ``--technique`` takes it (``name:k=v``).
        seconds: to run both sides for, after their warm-up.

    Returns:
        ``measured`` and ``predicted``: ``before`` and ``after`` in seconds, ``speedup`` in work per second with ``low`` and ``high``,
        ``memory`` before over after. ``direction`` says whether they agree (:func:`direction`), ``ratio`` is predicted over measured
        speed-up, ``difference`` how far results are from those without (None where the two do other work).

    Raises:
        UnknownName, BadInput: for techniques and settings nobody knows.
        Refused: where it does not apply to the question, or cannot be applied to a module on this machine, with the reason.
    """
    use = settled((parsed(label),))[0]
    method = applicable(use)
    given = recipe_of(scenario)
    why = method.why_not(given, use.settings)
    if why:
        raise Refused(f"{use.label} cannot be applied here: {why}", expected="a module it can be applied to")
    gain, after = _predicted(scenario, use)
    before = moment()
    work = method.work(use.settings)
    found = beside(given, method.apply(given, use.settings), seconds, compare=work == 1)
    warning = busy(before, moment(), seconds)
    return result(scenario, use, method, gain, after, found, [warning] if warning else [], given.device)


def applicable(use: Set) -> Method:
    """How a technique is applied to a module.

    Raises:
        Refused: where it cannot be, with the reason.
    """
    name = use.technique.name
    method = methods().get(name)
    if method is not None:
        return method
    reason = REASONS.get(name, "no library here applies it to a module")
    raise Refused(
        f"{name} cannot be applied here: {reason}", expected="one of " + ", ".join(methods()),
        hint=f"`speedlight whatif MODEL --try {name}` predicts it",
    )  # fmt: skip


def _predicted(scenario: Scenario, use: Set) -> tuple[Gain, Prediction]:
    ranking = whatif(scenario, names=(use.label,))
    outcome = (*ranking.singles, *ranking.refused)[0]
    if outcome.gain is None or outcome.after is None:
        raise refused(use, Refusal(*(outcome.refusal or ("it does not apply", ""))))
    return outcome.gain, outcome.after


def result(
    scenario: Scenario,
    use: Set,
    method: Method,
    gain: Gain,
    after: Prediction,
    found: Beside,
    warnings: list[str],
    device: str = "cpu",
) -> dict[str, Any]:
    """The JSON object of ``verify``."""
    work = method.work(use.settings)
    speedup = found.speedup * work
    predicted = {
        "before": float(after.time) * float(gain.latency), "after": float(after.time), "speedup": float(gain.speedup),
        "low": float(gain.low), "high": float(gain.high), "limit": float(after.limit), "memory": float(gain.memory),
    }  # fmt: skip
    measured = {
        "before": found.before, "after": found.after, "speedup": speedup, "low": found.low * work,
        "high": found.high * work, "rounds": [list(r) for r in found.rounds], "peak_before": found.peak_before, "peak_after": found.peak_after,
        "memory": found.peak_before / found.peak_after if found.peak_after else None,
    }  # fmt: skip
    return {
        "model": scenario.program.model.source, "machine": scenario.machine, "phase": scenario.program.workload.phase,
        "technique": use.label, "title": use.technique.title, "how": method.how, "exact": method.exact, "context": circumstances(device),
        "measured": measured, "predicted": predicted, "ratio": float(gain.speedup) / speedup,
        "direction": direction(speedup, float(gain.speedup), float(gain.low), float(gain.high)),
        "difference": None if found.difference is None else dataclasses.asdict(found.difference),
        "quality": [{"what": q.what, "value": q.value, "source": q.source} for q in use.technique.quality],
        "warnings": warnings,
        "assumptions": [a.to_dict() for a in after.assumptions],
    }  # fmt: skip


def direction(measured: float, predicted: float, low: float, high: float) -> dict[str, Any]:
    """Whether a prediction pointed the right way; measured changes under 5 % count as none.

    Of none it is right to predict none, or to leave it open (an interval that holds 1).
    """
    one, other = _way(measured), _way(predicted)
    right = (other == "none" or low <= 1.0 <= high) if one == "none" else (measured > 1.0) == (predicted > 1.0)
    return {"measured": one, "predicted": other, "right": bool(right)}


def _way(speedup: float) -> str:
    return "none" if abs(speedup - 1.0) < NONE else "faster" if speedup > 1.0 else "slower"


__all__ = ["applicable", "direction", "verify"]
