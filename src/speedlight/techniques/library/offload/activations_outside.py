"""SSDTrain: what the backward pass needs goes out behind the forward pass and comes back ahead of it."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...placing import offloaded_training, with_offloaded
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_offloaded(subject, settings["tier"], "activations")


ACTIVATIONS_OUTSIDE = register(Technique(
    name="activation-offload",
    title="Saved activations in host memory or on SSDs (SSDTrain)",
    family="offload",
    mechanism="a layer's saved activations leave while the next one computes and return while the one behind it does",
    papers=("ssdtrain",),
    citation="SSDTrain, arXiv 2408.10013",
    parameters=(Parameter("tier", "host", "where they wait", choices=("host", "disk"), trials=("disk",)),),
    edits=(Edit("workload", "training.offload.activations", _out),),
    refuse=offloaded_training,
    exact=True,
    memory_only=True,
))  # fmt: skip
