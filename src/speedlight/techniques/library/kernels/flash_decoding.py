"""Flash-decoding: the context of a head in equal parts, summed up by a second kernel."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...attention_kernels import SLOT, attends, measured, record
from ...conditions import every, on_gpu
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _split(subject: Subject, settings: Settings) -> Scenario:
    parts = settings["splits"] or "max(1, ceildiv(keys / seqs, 256))"
    return with_software(subject, record(blocks=f"seqs * kv_heads * {parts}", launches=2))


def split_already(subject: Subject, settings: Settings) -> Refusal | None:
    """Measured decode kernels of serving engines split the context."""
    if measured(subject):
        return Refusal(f"{subject.stack.name}'s measured decode kernels split the context already")
    return None


FLASH_DECODING = register(Technique(
    name="flash-decoding",
    title="Flash-decoding (split-k over the context)",
    family="kernels",
    mechanism="thread blocks take equal parts of a head's context; a second kernel adds them up: few sequences occupy all units",
    papers=(),
    citation="Dao, Haziza, Massa and Sizov, Flash-Decoding for long-context inference, 2023",
    parameters=(Parameter("splits", 0, "parts of each context; 0 for parts of 256 tokens", low=0, high=4096),),
    edits=(Edit("stack", SLOT, _split),),
    refuse=every(attends, on_gpu, split_already),
    exact=True,
    kernel_grade="assumed",
))  # fmt: skip
