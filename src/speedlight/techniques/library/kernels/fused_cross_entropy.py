"""Fused cross-entropy: logits in tiles that never leave the chip."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, training
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _fused(subject: Subject, settings: Settings) -> Scenario:
    one = [{"fn": "cross_entropy|cross_entropy_backward", "launches": 1, "traffic": 1}]
    rules = [
        {"name": "linear_cross_entropy", "pattern": ["linear", "cross_entropy"], "on_chip": True},
        {"name": "linear_cross_entropy", "pattern": ["linear", "cast", "cross_entropy"], "on_chip": True},
    ]
    return with_software(subject, {"variants": one, "fuse": rules})


def _loss(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.fn == "cross_entropy" for _, op in subject.resolved.graph.ops()):
        return None
    return Refusal("the model has no cross-entropy over a vocabulary")


CROSS_ENTROPY = register(Technique(
    name="fused-cross-entropy",
    title="Fused linear and cross-entropy (Liger, cut cross-entropy)",
    family="kernels",
    mechanism="the head's products and the loss run tile by tile: logits pass through memory once at most instead of several times",
    papers=("breaking-the-memory-barrier",),
    citation="Hsu et al., Liger kernel, arXiv 2410.10989; Wijmans et al., arXiv 2411.09009",
    edits=(Edit("stack", "stack.kernel:cross_entropy", _fused),),
    refuse=every(training, _loss),
    exact=True,
))  # fmt: skip
