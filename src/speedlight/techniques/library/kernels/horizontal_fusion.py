"""Horizontal fusion: many small kernels of one sort in one launch."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

STREAMS = ("elementwise", "reduction", "copy", "norm", "softmax", "gather", "quantize")


def _joined(subject: Subject, settings: Settings) -> Scenario:
    fns = sorted({op.fn for _, op in subject.graph.ops() if op.kind in STREAMS})
    variants = []
    for fn in fns:
        own = subject.stack.variant(fn)
        launches = own.launches.constant if own.launches.constant is not None else 1
        traffic = own.traffic.constant if own.traffic.constant is not None else 1
        variants.append({"fn": fn, "launches": launches / settings["kernels"], "traffic": traffic})
    return with_software(subject, {"variants": variants})


def _small(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.kind in STREAMS for _, op in subject.graph.ops()):
        return None
    return Refusal("the model has no element-wise kernels")


HORIZONTAL = register(Technique(
    name="horizontal-fusion",
    title="Horizontal fusion (batches of independent small kernels)",
    family="kernels",
    mechanism="independent kernels of one sort run as blocks of one launch; bytes stay as they are",
    papers=("the-fused-kernel-library",),
    citation="Amoros et al., arXiv 2508.07071",
    parameters=(Parameter("kernels", 4.0, "kernels in a launch", low=1.0, high=4096.0, neutral=1.0),),
    edits=(Edit("stack", "stack.launches", _joined),),
    refuse=_small,
    exact=True,
    whatif=False,
))  # fmt: skip
