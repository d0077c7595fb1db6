"""Weights read over the link by the kernels themselves: no copy lands on the device first."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import weights_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _direct(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("weights", "host", settings["share"], way="direct"))


ZERO_COPY = register(Technique(
    name="zero-copy-weights",
    title="Zero-copy access to weights in host memory",
    family="offload",
    mechanism="kernels load a share of their weights over the link as they compute; nothing is staged, nothing is buffered",
    citation="Min et al., EMOGI, arXiv 2006.06890",
    parameters=(Parameter("share", 1.0, "share of the weights kept outside", low=0.0, high=1.0, neutral=0.0, trials=(0.5,)),),
    edits=(Edit("workload", "places.weights", _direct),),
    refuse=weights_outside,
    exact=True,
    memory_only=True,
))  # fmt: skip
