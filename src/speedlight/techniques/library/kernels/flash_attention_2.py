"""FlashAttention-2: thread blocks over tiles of queries too, each result finished on the chip."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...attention_kernels import IN_TURN, SLOT, attends, measured, rates, record, tiled
from ...conditions import every, on_gpu
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _second(subject: Subject, settings: Settings) -> Scenario:
    return with_software(subject, record(blocks=tiled(), serial=list(IN_TURN), rates=rates(subject)))


def _other(subject: Subject, settings: Settings) -> Refusal | None:
    if measured(subject) and not rates(subject):
        return Refusal(f"{subject.stack.name}'s measured attention kernels on {subject.machine.name} are of its kind")
    return None


SECOND = register(Technique(
    name="flash-attention-2",
    title="FlashAttention-2's kernel",
    family="kernels",
    mechanism="work falls into tiles of queries of each head; fewer operations beside the products, which still take turns with them",
    papers=("flashattention-2",),
    citation="Dao, arXiv 2307.08691, §3",
    edits=(Edit("stack", SLOT, _second),),
    refuse=every(attends, on_gpu, _other),
    exact=True,
    whatif=False,
    kernel_grade="assumed",
))  # fmt: skip
