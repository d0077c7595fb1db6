"""More servers under one power budget: each device's power is capped."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _capped(subject: Subject, settings: Settings) -> Scenario:
    watts = subject.machine.tdp_w * settings["share"]
    return subject.scenario.replace(point=dataclasses.replace(subject.scenario.point, power_w=watts))


def _known(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.scenario.point.power_w is not None:
        return Refusal("a power limit is stated with the question already")
    return None if subject.machine.tdp_w else Refusal(f"{subject.machine.name} states no power")


POWER_CAP = register(Technique(
    name="power-cap",
    title="Power capping for oversubscription (POLCA)",
    family="serving",
    mechanism="devices are held below their rated power: clocks fall, which what waits for memory hardly feels; more servers fit under one budget",
    papers=("polca",),
    citation="Patel et al., POLCA, arXiv 2308.12908",
    parameters=(Parameter("share", 0.77, "of the rated power", low=0.3, high=1.0, neutral=1.0,
                          source="POLCA, arXiv 2308.12908: 30 % more servers under one budget is 1/1.3 of the power each"),),
    edits=(Edit("machine", "machine.power", _capped),),
    refuse=_known,
    exact=True,
    whatif=False,
))  # fmt: skip
