"""Would it help my deployment? Techniques on a load: what users see before and after, requests and their seed the same.

A step's gain is no deployment's: a shorter step empties the queue sooner, a smaller cache lets more sequences run, and a policy changes
neither. Each technique is one simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .._foundation.errors import BadInput, SpeedlightError
from ..engine.answers.prediction import plain
from ..engine.serving.simulate import Answer, answer
from ..scenario.scenario import Scenario
from ..scenario.scenario import Technique as Use
from ..serving.metrics import Objective
from .compose import Refused, applied, parsed, settled
from .technique import catalogue

# What edits how engines serve or what their steps cost; other families' edits of a call are no edits of a load.
FAMILIES = ("serving", "formats")


@dataclass(frozen=True, slots=True)
class ServedGain:
    """Before over after of latencies, after over before of rates; above 1 is better, NaN where neither was measured.

    Attributes:
        throughput: output tokens a second and device; of an open load below saturation it says little.
        goodput: requests a second and device within the objectives.
        ttft, tpot, e2el: means; ``gap``: 99th percentile of the gaps between tokens.
    """

    throughput: float
    goodput: float
    ttft: float
    tpot: float
    e2el: float
    gap: float


@dataclass(frozen=True, slots=True)
class ServedOutcome:
    """What a technique does to a load; ``refusal`` says why not, and the nearest alternative."""

    name: str
    gain: ServedGain | None = None
    after: Answer | None = None
    refusal: tuple[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        g = self.gain
        figures = {} if g is None else {f"{k}_gain": getattr(g, k) - 1 for k in g.__slots__}
        metrics = None if self.after is None else self.after.metrics
        return plain({  # type: ignore[no-any-return]
            "technique": self.name, **figures, "metrics": metrics, "holds": None if self.after is None else self.after.holds,
            "why_not": None if self.refusal is None else {"reason": self.refusal[0], "instead": self.refusal[1]},
        })  # fmt: skip


def whatif_served(
    scenario: Scenario,
    objectives: tuple[Objective, ...] = (),
    *,
    names: Sequence[str] = (),
    families: Sequence[str] = FAMILIES,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Answer, tuple[ServedOutcome, ...]]:
    """Every technique about serving (or those named) on a load.

    Args:
        scenario: a question with a load; techniques it names itself are part of the baseline.
        objectives: what goodput counts.
        names: labels (``name:k=v``) to try instead of all of ``families``.
        progress: told (done, of all).

    Returns:
        the baseline's answer, and outcomes: first those with the shortest mean time of a request, then those that do not apply.

    Raises:
        BadInput: for a question without a load.
    """
    if scenario.serving is None:
        raise BadInput(
            "a question without a load", expected="one with a rate, a concurrency or a trace", hint="--rate 8"
        )
    own = {use.name for use in scenario.techniques}
    wanted = [parsed(label) for label in names] or [
        Use(name) for name, t in catalogue().items() if t.whatif and t.family in families and name not in own
    ]
    before = answer(applied(scenario), objectives)
    found = []
    for index, use in enumerate(wanted):
        found.append(_outcome(scenario, use, before, objectives))
        progress(index + 1, len(wanted))
    ranked = sorted((o for o in found if o.gain is not None), key=_order)
    return before, (*ranked, *sorted((o for o in found if o.gain is None), key=lambda o: o.name))


def _outcome(scenario: Scenario, use: Use, before: Answer, objectives: tuple[Objective, ...]) -> ServedOutcome:
    (one,) = settled((use,))
    try:
        after = answer(applied(scenario.replace(techniques=(*scenario.techniques, one.use))), objectives)
    except Refused as error:
        return ServedOutcome(one.label, refusal=(error.message.partition(": ")[2] or error.message, error.hint))
    except SpeedlightError as error:
        return ServedOutcome(one.label, refusal=(error.message, error.hint or error.expected))
    return ServedOutcome(one.label, gain_of(before, after), after)


def gain_of(before: Answer, after: Answer) -> ServedGain:
    """What a load sees of a change."""

    def rate(name: str) -> float:
        return _over(_each(after, name), _each(before, name))

    def latency(name: str, statistic: str = "mean") -> float:
        return _over(before.metrics[name][statistic], after.metrics[name][statistic])

    return ServedGain(
        rate("output_throughput"),
        rate("goodput"),
        latency("ttft"),
        latency("tpot"),
        latency("e2el"),
        latency("itl", "p99"),
    )


def _each(answer: Answer, name: str) -> float | None:
    """A rate of one device; None where it was not measured."""
    value = answer.metrics.get(name)
    return None if value is None else float(value) / answer.deployment.devices


def _over(a: float | None, b: float | None) -> float:
    return math.nan if a is None or b is None or b == 0 else a / b


def _order(outcome: ServedOutcome) -> tuple[float, str]:
    assert outcome.gain is not None
    return -round(outcome.gain.e2el, 9) if math.isfinite(outcome.gain.e2el) else 0.0, outcome.name
