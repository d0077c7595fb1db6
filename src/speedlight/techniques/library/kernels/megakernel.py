"""Megakernels: a whole step in one persistent kernel."""

from __future__ import annotations

from ...conditions import every, on_gpu
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _latency(subject: Subject, settings: Settings) -> Refusal | None:
    return None if subject.stack.device_latency else Refusal("launches cost nothing here already")


MEGAKERNEL = register(Technique(
    name="megakernel",
    title="Megakernel (one persistent kernel a step)",
    family="kernels",
    mechanism="units fetch the next operator's tiles from a queue in memory: no kernel starts, no tail of one waits for the next",
    papers=("thunderkittens",),
    citation="Spector et al., Look Ma, no bubbles, Hazy Research, 2025; Cheng et al., MPK, arXiv 2512.22219",
    edits=(
        Edit("stack", "stack.host", lambda s, settings: with_software(s, {
            "device_latency": False, "host": {"graphs": ["forward", "prefill", "decode", "train"]},
        })),
    ),
    refuse=every(on_gpu, _latency),
    exact=True,
))  # fmt: skip
