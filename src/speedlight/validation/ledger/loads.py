"""What a load sees of a deployment, with the interval that its step times' errors leave: derivations about serving ask here.

A run is exact for the step times it is given, so its error is theirs. A step's three parts (what its tokens cost, attention of
decoding, attention of prompts) err apart: each is made slower alone by the engine's half-width, and what a ratio of two
deployments loses or gains by it is added in squares; what both share cancels. The bound runs the same load at the speed of light.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...engine.serving.deploy import deployed
from ...engine.serving.simulate import requests_of, saturation
from ...scenario.scenario import Scenario
from ...scenario.serving import Load
from ...serving.deployment import Deployment
from ...serving.metrics import Objective, summary
from ...serving.simulate import simulate
from ...serving.steps import Table
from .finding import Span

PARTS = ("tokens", "decode", "prefill")
LEAST = 1e-12


@dataclass(frozen=True)
class Variants:
    """One deployment, the same with each part slower, and at the speed of light.

    Attributes:
        base, slower, light: see the module docstring.
        slow: all parts slower at once: for objectives, which are seconds and no ratio.
        load: what comes.
    """

    base: Deployment
    slower: tuple[Deployment, ...]
    slow: Deployment
    light: Deployment
    load: Load


def variants(scenario: Scenario) -> Variants:
    """The deployment of a scenario with a load, techniques carried out already."""
    assert scenario.serving is not None
    load, engines = scenario.serving.load, scenario.serving.engines
    base, priced, _ = deployed(scenario, engines, load.adapters)
    facts = priced.facts
    error = float(facts.high - facts.low) / (2.0 * float(facts.time))
    slower = tuple(_scaled(base, {part: 1.0 + error}) for part in PARTS)
    light = _scaled(base, dict.fromkeys(PARTS, float(facts.limit / facts.time)), host=0.0)
    slow = _scaled(base, dict.fromkeys(PARTS, 1.0 + error))
    return Variants(base, slower, slow, light, load)


def _scaled(deployment: Deployment, factors: dict[str, float], host: float = 1.0) -> Deployment:
    def pool(one: Any) -> Any:
        tables = one.tables
        changes: dict[str, Any] = {
            part: Table(t.x, t.y, t.seconds * factor)
            for part, factor in factors.items()
            for t in [getattr(tables, part)]
        }
        if host != 1.0:
            own = tables.host
            changes["host"] = dataclasses.replace(own, step=own.step * host, sequence=own.sequence * host)
        return one.replace(tables=dataclasses.replace(tables, **changes))

    prefill = None if deployment.prefill is None else pool(deployment.prefill)
    return dataclasses.replace(deployment, engine=pool(deployment.engine), prefill=prefill)


Measure = Callable[[Deployment, Load], float]


def metric(name: str, statistic: str = "mean", objectives: tuple[Objective, ...] = ()) -> Measure:
    """A figure of :func:`speedlight.serving.metrics.summary`."""

    def measure(deployment: Deployment, load: Load) -> float:
        run = simulate(requests_of(load, deployment.engine.capacity.block_size), deployment, seed=load.seed)
        found = summary(run, objectives)[name]
        value = found[statistic] if isinstance(found, dict) else found
        return float("nan") if value is None else float(value)

    return measure


def rate_within(objectives: tuple[Objective, ...], attainment: float = 0.0, halvings: int = 9) -> Measure:
    """Measures the largest rate at which the objectives hold (or are met by a share of the requests), to about 1 %."""

    def holds(deployment: Deployment, load: Load, rate: float) -> bool:
        run = simulate(requests_of(load, deployment.engine.capacity.block_size, rate), deployment, seed=load.seed)
        found = summary(run, objectives)
        return bool(found["attainment"] >= attainment) if attainment else bool(found["holds"])

    seen: dict[int, float] = {}  # the same deployment stands in several ratios

    def measure(deployment: Deployment, load: Load) -> float:
        if id(deployment) not in seen:
            seen[id(deployment)] = largest(deployment, load)
        return seen[id(deployment)]

    def largest(deployment: Deployment, load: Load) -> float:
        load = dataclasses.replace(load, rate=None, concurrency=None)
        most = 1.5 * saturation(deployment, load)
        low, high = most / 32.0, most
        if not holds(deployment, load, low):
            return LEAST
        for _ in range(halvings):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if holds(deployment, load, middle) else (low, middle)
        return low

    return measure


def ratio(
    before: Variants,
    after: Variants,
    measure: Measure,
    *,
    per_device: bool = False,
    falls: bool = False,
    apart: bool = True,
) -> Span:
    """How much a figure improves from one deployment to the other.

    Args:
        measure: what is compared, of each under its own load.
        per_device: each divided by its devices.
        falls: less of it is better: before over after.
        apart: each part of a step errs for itself; else all of them together.
    """

    def improved(a: Deployment, b: Deployment) -> float:
        x, y = measure(a, before.load), measure(b, after.load)
        if per_device:
            x, y = x / a.devices, y / b.devices
        return max(x, LEAST) / max(y, LEAST) if falls else max(y, LEAST) / max(x, LEAST)

    value = improved(before.base, after.base)
    pairs = zip(before.slower, after.slower, strict=True) if apart else [(before.slow, after.slow)]
    width = math.sqrt(sum(math.log(improved(a, b) / value) ** 2 for a, b in pairs))
    return Span(value * math.exp(-width), value, value * math.exp(width), improved(before.base, after.light))


def alone(one: Variants, measure: Measure) -> Span:
    """A figure of one deployment."""
    value = measure(one.base, one.load)
    changes = [math.log(max(measure(d, one.load), LEAST) / max(value, LEAST)) for d in one.slower]
    width = math.sqrt(sum(c**2 for c in changes))
    return Span(value * math.exp(-width), value, value * math.exp(width), measure(one.light, one.load))
