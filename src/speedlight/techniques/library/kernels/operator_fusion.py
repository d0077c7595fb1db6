"""Operator fusion: what is no product becomes loops that pass results on in registers."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

LOOPS = {
    "pointwise": ["elementwise", "copy", "quantize", "batch_norm"],
    "reductions": ["norm", "softmax", "reduction"],
    "closed": ["max_pool", "avg_pool", "embedding", "gather"],
}
WHOLE = "rms_norm|rope|group_norm|layer_norm|softmax|kv_write|quantize"


def _fused(subject: Subject, settings: Settings) -> Scenario:
    variants = [{"fn": WHOLE, "launches": 1, "traffic": 1}, {"fn": "cross_entropy", "launches": 2, "traffic": 2}]
    return with_software(subject, {"loops": LOOPS, "variants": variants})


def _apart(subject: Subject, settings: Settings) -> Refusal | None:
    stack = subject.stack
    if stack.loops is not None or stack.fuse_all:
        return Refusal(f"{stack.name} fuses operators already")
    if stack.name in ("torch-eager", "transformers", "megatron", "deeplearningexamples", "deepspeed"):
        return None
    return Refusal(f"{stack.name} runs hand-written kernels that are fused already", "a stack without a compiler")


FUSION = register(Technique(
    name="operator-fusion",
    title="Operator fusion by a compiler (TVM, XLA, Inductor, data-movement recipes)",
    family="kernels",
    mechanism="element-wise calls and reductions between products run as one loop: their intermediates never leave the chip",
    papers=(
        "data-movement-is-all-you-need", "tvm", "the-fused-kernel-library", "cudaforge", "dycl",
        "accelerating-in-browser-deep-learning-inference-on-diverse-e",
    ),
    citation="Ivanov et al., arXiv 2007.00072; Chen et al., TVM, arXiv 1802.04799",
    edits=(Edit("stack", "stack.loops", _fused),),
    refuse=_apart,
    exact=True,
))  # fmt: skip
