"""CUDA graphs: a step's launches recorded once and issued as one."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, on_gpu
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

PHASES = ("forward", "prefill", "decode", "train")


def _recorded(subject: Subject, settings: Settings) -> Scenario:
    return with_software(subject, {"host": {"graphs": list(PHASES)}})


def _issued(subject: Subject, settings: Settings) -> Refusal | None:
    host = subject.stack.host
    steps = {"generate": ("prefill", "decode")}.get(subject.phase, (subject.phase,))
    if all(step in host.graphs for step in steps):
        return Refusal(f"{subject.stack.name} captures graphs in {subject.phase} already")
    return None if host.launch_s else Refusal(f"launches cost {subject.stack.name} nothing")


GRAPHS = register(Technique(
    name="cuda-graphs",
    title="CUDA graphs",
    family="kernels",
    mechanism="the host issues a whole recorded step at once: launches cost the device's own latency, no host time each",
    papers=(),
    citation="NVIDIA, CUDA C++ Programming Guide, CUDA Graphs",
    edits=(Edit("stack", "stack.host", _recorded),),
    refuse=every(on_gpu, _issued),
    exact=True,
))  # fmt: skip
