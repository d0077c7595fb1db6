"""Fuyou: states on SSDs, their update and swaps pipelined with the backward pass instead of after it."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...edits import with_software
from ...placing import offloaded_training, with_offloaded
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_offloaded(subject, settings["tier"], "optimizer", "gradients", "weights", "activations")


def _behind(subject: Subject, settings: Settings) -> Scenario:
    return with_software(subject, {"attrs": {"overlap": ["gradients", "weights", "context", "offload", "update"]}})


OVERLAPPED = register(Technique(
    name="overlapped-state-swaps",
    title="States on SSDs, updates pipelined with the backward pass (Fuyou)",
    family="offload",
    mechanism="the host updates a layer as soon as its gradients are out, beside the backward pass; disk, host and link work at once",
    papers=("adding-nvme-ssds-to-enable-and-accelerate-100b-model-fine-tu",),
    citation="Fuyou, arXiv 2403.06504",
    parameters=(Parameter("tier", "disk", "where states and weights lie", choices=("disk", "host"), trials=("host",)),),
    edits=(Edit("workload", "training.offload", _out), Edit("stack", "stack.overlap", _behind)),
    refuse=offloaded_training,
    exact=True,
))  # fmt: skip
