"""Stages of a call in sequence: their times add to its latency; in a steady stream the slowest place sets the pace.

Stages that compute share their device, so their times add there too; stages on machines of their own work beside it. Copies over the
host's link and between programs run on copy engines beside them: while one call is computed, the next one's inputs come. So a stream
of calls takes, each,

    period = max(over machines of Σ over their stages of time on them, over links Σ over stages of time on them),

and the stage that takes most of the slowest place is what binds it, ``stage:<name>``. The latency of a transfer holds nobody: while one
result is on its way, the next one may leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, maximum
from ..._foundation.quantity import format_percent, format_time
from ...costs.cost import bound_names
from ...hardware.machine import Machine
from ..steps.phase import Parts, weighted


@dataclass(frozen=True, slots=True)
class Stage:
    """One program of a call.

    Attributes:
        time: seconds of all its repeats; the stages' sum to the call's.
        copying: those of them in which only a link works: the host's, or the one between two programs.
        place: id of the machine it computes on.
        link: the one between two programs; empty for the host's.
        underway: seconds of ``copying`` that hold no link.
    """

    name: str
    time: Value
    copying: Value
    place: str = ""
    link: str = ""
    underway: Value = 0.0

    @property
    def computing(self) -> Value:
        """Seconds on the device."""
        return self.time - self.copying


def stages_of(parts: Parts, machine: Machine) -> tuple[Stage, ...]:
    """The stages of a call, in order; empty for a single program."""
    order = list(dict.fromkeys(parts.stages))
    places: dict[str, str] = dict.fromkeys(order, "")
    time: dict[str, Value] = dict.fromkeys(order, 0.0)
    copying: dict[str, Value] = dict.fromkeys(order, 0.0)
    underway: dict[str, Value] = dict.fromkeys(order, 0.0)
    between: dict[str, str] = {}
    for name, (step, weight, nodes) in zip(parts.stages, parts.results, strict=False):
        names = step.names or bound_names(machine)
        links = [i for i, bound in enumerate(names) if bound.startswith("link:") or bound == "host_dram"]
        time[name] = time[name] + weighted(step.time, weight, nodes)
        places[name] = step.place or machine.id
        for _, _, kernels in step.blocks:
            for priced in kernels:
                if priced.kernel.kind != "copy":
                    continue
                if priced.kernel.fn == "send_recv":
                    between[name] = f"{places[name]} {next(iter(priced.cost.busy))}"
                    copying[name] = copying[name] + weighted(priced.cost.time * priced.count, weight, nodes)
                    underway[name] = underway[name] + weighted(priced.cost.latency * priced.count, weight, nodes)
                    continue
                waits = np.isin(priced.cost.bound, links)
                if np.any(waits):
                    seconds = priced.cost.time * priced.count * waits
                    copying[name] = copying[name] + weighted(seconds, weight, nodes)
    return tuple(
        Stage(name, time[name], copying[name], places[name], between.get(name, ""), underway[name]) for name in order
    )


def period(stages: Sequence[Stage]) -> Value:
    """Seconds from one call of a steady stream to the next."""
    longest: Value = 0.0
    for seconds in _busy(stages).values():
        longest = maximum(longest, seconds)
    return longest


def _busy(stages: Sequence[Stage]) -> dict[tuple[str, str], Value]:
    """Seconds a call keeps each machine and each link."""
    found: dict[tuple[str, str], Value] = {}
    for stage in stages:
        for place, seconds in _holds(stage).items():
            found[place] = found.get(place, 0.0) + seconds
    return found


def _holds(stage: Stage) -> dict[tuple[str, str], Value]:
    return {
        ("machine", stage.place or "device"): stage.computing,
        ("link", stage.link): stage.copying - stage.underway,
    }


def pace(stages: Sequence[Stage]) -> str:
    """``stage:<name>``: who takes most of the place that sets the pace."""
    busy = _busy(stages)
    slowest = max(busy, key=lambda place: float(busy[place]))
    return f"stage:{max(stages, key=lambda s: float(_holds(s).get(slowest, 0.0))).name}"


def said(stages: Sequence[Stage]) -> str:
    """One sentence for people."""
    each, whole = float(period(stages)), sum(float(s.time) for s in stages)
    shares = ", ".join(f"{s.name} {format_percent(float(s.time) / whole)}" for s in stages) if whole else ""
    return f"stages add to the latency ({shares}); a steady stream takes {format_time(each)} a call, bound by {pace(stages)}"
