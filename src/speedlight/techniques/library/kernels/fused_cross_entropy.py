"""Fused cross-entropy: logits in tiles that never leave the chip."""

from __future__ import annotations

from ...conditions import every, training
from ...edits import with_rewrite, with_software
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

ONE = [{"fn": "cross_entropy|cross_entropy_backward|cast", "launches": 1, "traffic": 1}]


def _loss(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.fn == "cross_entropy" for _, op in subject.graph.ops()):
        return None
    return Refusal("the model has no cross-entropy over a vocabulary")


CROSS_ENTROPY = register(Technique(
    name="fused-cross-entropy",
    title="Fused linear and cross-entropy (Liger, cut cross-entropy)",
    family="kernels",
    mechanism="the head's products and the loss run for a tile of rows at a time: logits and their gradients are held for one tile only",
    papers=("breaking-the-memory-barrier",),
    citation="Hsu et al., Liger kernel, arXiv 2410.10989; Wijmans et al., arXiv 2411.09009",
    parameters=(Parameter("rows", 1024, "positions whose logits are there at once", "tokens", low=1, trials=(128,)),),
    edits=(
        Edit("graph", "loss-rows", lambda s, settings: with_rewrite(s, "tiled_loss", rows=settings["rows"])),
        Edit("stack", "stack.kernel:cross_entropy", lambda s, settings: with_software(s, {"variants": ONE})),
    ),
    refuse=every(training, _loss),
    exact=True,
))  # fmt: skip
