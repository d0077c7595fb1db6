"""Stages of a call in sequence: their times add to its latency; in a steady stream the slowest place sets the pace.

Stages that compute share their device, so their times add there too; stages on machines of their own work beside it. Copies over the
host's link and between programs run on copy engines beside them: while one call is computed, the next one's inputs come. So a stream
of calls takes, each,

    period = max(over machines of Σ over their stages of time on them, Σ over stages of time on the link),

and the stage that takes most of the slower place is what binds it, ``stage:<name>``.
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
        copying: those of them in which only the host's link works.
        place: id of the machine it computes on.
    """

    name: str
    time: Value
    copying: Value
    place: str = ""

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
    for name, (step, weight, nodes) in zip(parts.stages, parts.results, strict=False):
        names = step.names or bound_names(machine)
        links = [i for i, bound in enumerate(names) if bound.startswith("link:") or bound == "host_dram"]
        time[name] = time[name] + weighted(step.time, weight, nodes)
        places[name] = step.place or machine.id
        for _, _, kernels in step.blocks:
            for priced in kernels:
                if priced.kernel.kind != "copy":
                    continue
                waits = np.isin(priced.cost.bound, links)
                if np.any(waits):
                    seconds = priced.cost.time * priced.count * waits
                    copying[name] = copying[name] + weighted(seconds, weight, nodes)
    return tuple(Stage(name, time[name], copying[name], places[name]) for name in order)


def period(stages: Sequence[Stage]) -> Value:
    """Seconds from one call of a steady stream to the next."""
    longest: Value = 0.0
    for seconds in _busy(stages).values():
        longest = maximum(longest, seconds)
    return longest


def _busy(stages: Sequence[Stage]) -> dict[str, Value]:
    """Seconds a call keeps each machine, and the links (under "")."""
    found: dict[str, Value] = {"": 0.0}
    for stage in stages:
        found[""] = found[""] + stage.copying
        found[stage.place or "device"] = found.get(stage.place or "device", 0.0) + stage.computing
    return found


def pace(stages: Sequence[Stage]) -> str:
    """``stage:<name>``: who takes most of the place that sets the pace."""
    busy = _busy(stages)
    slowest = max(busy, key=lambda place: float(busy[place]))
    there = [s for s in stages if (s.place or "device") == slowest] if slowest else list(stages)
    return f"stage:{max(there, key=lambda s: float(s.computing if slowest else s.copying)).name}"


def said(stages: Sequence[Stage]) -> str:
    """One sentence for people."""
    each, whole = float(period(stages)), sum(float(s.time) for s in stages)
    shares = ", ".join(f"{s.name} {format_percent(float(s.time) / whole)}" for s in stages) if whole else ""
    return f"stages add to the latency ({shares}); a steady stream takes {format_time(each)} a call, bound by {pace(stages)}"
