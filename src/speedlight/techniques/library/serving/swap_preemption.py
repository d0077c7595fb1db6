"""What a preempted request had cached goes to host memory and comes back, instead of being computed again."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, generates, on_gpu, with_load
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _swapped(subject: Subject, settings: Settings) -> Scenario:
    serving = subject.serving
    rules = {**serving.engines.rules, "preemption": "swap"}
    return subject.scenario.replace(
        serving=serving.with_engines(
            rules=rules, swap_bytes=settings["gigabytes"] * 1e9, swap_copies=settings["copies"]
        )
    )


def _host(subject: Subject, settings: Settings) -> Refusal | None:
    if any(link.role == "host" for link in subject.machine.links):
        return None
    return Refusal(f"{subject.machine.name} states no link to its host", "preemption by recomputing")


SWAP_PREEMPTION = register(Technique(
    name="swap-preemption",
    title="Preemption by swapping (vLLM's swap, FastSwitch)",
    family="serving",
    mechanism="a preempted request's blocks cross the link to the host and back; each copy waits for the link's latency once, so that few large copies beat many small ones",
    papers=("fastswitch",),
    citation="FastSwitch, arXiv 2411.18424",
    parameters=(
        Parameter("gigabytes", 64.0, "host memory of a device for keys and values", "GB", low=0.1),
        Parameter("copies", 1, "copies a block is moved in: one where blocks of all layers lie together, two a layer where they do not", low=1),
    ),
    edits=(Edit("serving", "serving.preemption", _swapped),),
    refuse=every(with_load, generates, on_gpu, _host),
    exact=True,
))  # fmt: skip
