"""FlashAttention-3: softmax under the products of another tile, and Hopper's own matrix instructions."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...attention_kernels import SLOT, attends, measured, rates, record, tiled
from ...conditions import every, on_gpu
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _third(subject: Subject, settings: Settings) -> Scenario:
    return with_software(subject, record(blocks=tiled(), efficiency=1.0))


def _needed(subject: Subject, settings: Settings) -> Refusal | None:
    if not rates(subject):
        return Refusal(f"{subject.machine.name} has no asynchronous matrix instructions", "flash-attention-2")
    if measured(subject):
        return Refusal(f"{subject.stack.name}'s measured attention kernels on {subject.machine.name} are of its kind")
    return None


THIRD = register(Technique(
    name="flash-attention-3",
    title="FlashAttention-3's kernel",
    family="kernels",
    mechanism="copies, products and softmax of different tiles run at once: the longest of them sets the time, not their sum",
    papers=("flashattention-3", "thunderkittens"),
    citation="Shah et al., arXiv 2407.08608, §3",
    edits=(Edit("stack", SLOT, _third),),
    refuse=every(attends, on_gpu, _needed),
    exact=True,
    kernel_grade="assumed",
))  # fmt: skip
