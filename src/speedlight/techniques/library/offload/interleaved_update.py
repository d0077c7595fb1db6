"""Deep Optimizer States: a share of the host's states comes to the device, is updated there and goes back."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...edits import with_training
from ...placing import offloaded_training, with_offloaded, with_transfers
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _pace(subject: Subject, settings: Settings) -> Scenario:
    return with_transfers(subject, update=settings["pace"])


def _interleaved(subject: Subject, settings: Settings) -> Scenario:
    outside = Subject(with_offloaded(subject, "host", "optimizer"))
    return with_training(outside, update_here=settings["share"])


INTERLEAVED = register(Technique(
    name="interleaved-update",
    title="Optimizer subgroups updated on host and device at once (Deep Optimizer States)",
    family="offload",
    mechanism="the link carries a share of the states each way beside the host's update of the rest",
    papers=("deep-optimizer-states",),
    citation="Deep Optimizer States, arXiv 2410.21316",
    parameters=(
        Parameter("share", 0.5, "share of the states updated on the device", low=0.0, high=1.0, trials=(0.33, 0.67)),
        Parameter("pace", 0.5, "share of the host memory's bandwidth at which its update goes", low=0.01, high=1.0),
    ),
    edits=(Edit("workload", "training.offload", _interleaved), Edit("stack", "stack.transfers.update", _pace)),
    refuse=offloaded_training,
    exact=True,
    memory_only=True,
))  # fmt: skip
