"""Weights as wiring: no weight byte is ever fetched."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...conditions import every, inference
from ...placing import not_yet, with_place
from ...subject import Subject
from ...technique import Edit, Settings, Technique, register

INSTANT = 1e21  # bytes/s: operands that are wires are there


def _wired(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("weights", "memory", way="computed", rate=INSTANT))


HARDWIRED = register(Technique(
    name="hardwired-weights",
    title="Weights embedded in metal (hardwired neurons)",
    family="hardware",
    mechanism="products with weights take no memory traffic and no matrix unit's time; keys, values and vectors are left",
    papers=("hardwired-neurons-language-processing-units-as-general-purpo",),
    citation="arXiv 2508.16151",
    edits=(Edit("workload", "places.weights", _wired),),
    refuse=every(inference, not_yet("weights")),
    exact=True,
    whatif=False,
    kernel_grade="assumed",
))  # fmt: skip
