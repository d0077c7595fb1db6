"""Cambricon-LLM: weights in NAND whose dies multiply; the device shares the work over the flash's channels."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...conditions import decoding, every
from ...placing import weights_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _flash(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("weights", "disk", way="computed", rate=settings["gb_s"] * 1e9))


IN_FLASH = register(Technique(
    name="in-flash-weights",
    title="Products inside flash dies (Cambricon-LLM)",
    family="hardware",
    mechanism="weight bytes are read and multiplied inside the NAND dies; vectors alone cross to the device",
    papers=("cambricon-llm",),
    citation="Cambricon-LLM, arXiv 2409.15654",
    parameters=(Parameter("gb_s", 256.0, "that dies and device together take weights in at", "GB/s", low=0.1),),
    edits=(Edit("workload", "places.weights", _flash),),
    refuse=every(decoding, weights_outside),
    exact=True,
    whatif=False,
    kernel_grade="assumed",
))  # fmt: skip
