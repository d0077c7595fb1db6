"""Products, attention and messages of different parts of one batch at the same time."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, generates, inference, on_gpu
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _parts(subject: Subject, settings: Settings) -> Scenario:
    return with_software(subject, {"attrs": {"nano_batches": settings["parts"]}})


def _a_step(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.scenario.serving is not None:
        return Refusal(
            "overlap inside a step is answered for steps, not for a load", "`speedlight explain --phase decode`"
        )
    if subject.sharded("pp"):
        return Refusal("micro-batches of a pipeline fill each other's gaps already", "--pp 1")
    return None


NANO_BATCHES = register(Technique(
    name="nano-batch-overlap",
    title="Nano-batches (NanoFlow)",
    family="serving",
    mechanism="a batch is cut into parts whose kernels run beside each other: a block takes as long as its busiest resource, and reads its weights once a part",
    papers=("nanoflow",),
    citation="Zhu et al., NanoFlow, arXiv 2408.12757",
    parameters=(Parameter("parts", 2, "nano-batches of a batch", choices=(1, 2, 3, 4), trials=(4,), neutral=1),),
    edits=(Edit("schedule", "schedule.overlap", _parts),),
    refuse=every(inference, generates, on_gpu, _a_step),
    exact=True,
))  # fmt: skip
