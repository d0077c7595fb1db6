"""ZeRO-Offload: gradients and optimizer states on the host, which makes the step."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...placing import offloaded_training, with_offloaded, with_transfers
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_offloaded(subject, settings["tier"], "optimizer", "gradients")


def _pace(subject: Subject, settings: Settings) -> Scenario:
    return with_transfers(subject, update=settings["pace"])


OPTIMIZER_OUTSIDE = register(Technique(
    name="optimizer-offload",
    title="Optimizer states and step on the host (ZeRO-Offload)",
    family="offload",
    mechanism="gradients leave behind the backward pass, the host streams states through its memory, new 16-bit weights come back",
    papers=("zero-offload", "analysis-and-optimized-cxl-attached-memory-allocation-for-lo"),
    citation="ZeRO-Offload, arXiv 2101.06840",
    parameters=(
        Parameter("tier", "host", "where the states lie", choices=("host", "disk")),
        Parameter("pace", 0.5, "share of the host memory's bandwidth at which its update goes", low=0.01, high=1.0),
    ),
    edits=(Edit("workload", "training.offload", _out), Edit("stack", "stack.transfers.update", _pace)),
    refuse=offloaded_training,
    exact=True,
    memory_only=True,
))  # fmt: skip
