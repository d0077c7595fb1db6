"""Hand-written fused kernels between products: norms, rotations, activations, and projections side by side."""

from __future__ import annotations

from collections.abc import Callable

from ...conditions import Condition
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

NORMS = "rms_norm|layer_norm"
ACTIVATIONS = "silu|gelu|gelu_tanh|relu2"


def _has(kind: str, fns: str, apart: Callable[[Subject], bool]) -> Condition:
    """The model calls one of the functions, and the stack runs them in pieces."""

    def refuse(subject: Subject, settings: Settings) -> Refusal | None:
        if not any(op.fn in fns.split("|") for _, op in subject.graph.ops()):
            return Refusal(f"the model has no {kind}")
        stack = subject.stack
        if stack.fuse_all or stack.loops is not None or not apart(subject):
            return Refusal(f"{stack.name} fuses {kind}s already")
        return None

    return refuse


def _in_pieces(fn: str) -> Callable[[Subject], bool]:
    """Several launches, or more traffic than the least."""

    def apart(subject: Subject) -> bool:
        one = subject.stack.variant(fn)
        return one.launches.constant != 1 or one.traffic.constant != 1

    return apart


def _no_rule(*pattern: str) -> Callable[[Subject], bool]:
    return lambda s: (
        not any(len(r.pattern) == len(pattern) and r.pattern[0].split("|")[0] == pattern[0] for r in s.stack.fuse)
    )


NORM = register(Technique(
    name="fused-norm",
    title="Fused norm (residual sum, statistics and scale in one kernel)",
    family="kernels",
    mechanism="a row is read once and normalised on the chip, the residual sum before it in the same kernel",
    citation="NVIDIA Apex, FastLayerNorm; Hsu et al., Liger kernel, arXiv 2410.10989, §3.1",
    edits=(
        Edit("stack", "stack.kernel:norm", lambda s, settings: with_software(s, {
            "variants": [{"fn": NORMS, "launches": 1, "traffic": 1}],
            "fuse": [{"name": "fused_add_norm", "pattern": ["add", NORMS]}],
        })),
    ),
    refuse=_has("norm", NORMS, lambda s: _in_pieces("rms_norm")(s) or _no_rule("add", NORMS)(s)),
    exact=True,
))  # fmt: skip

ROPE = register(Technique(
    name="fused-rope",
    title="Fused rotary embedding",
    family="kernels",
    mechanism="queries and keys are rotated in one kernel that reads and writes them once",
    citation="Hsu et al., Liger kernel, arXiv 2410.10989, §3.1",
    edits=(
        Edit("stack", "stack.kernel:rope", lambda s, settings: with_software(s, {
            "variants": [{"fn": "rope", "launches": 1, "traffic": 1}],
            "fuse": [{"name": "rotary_embedding", "pattern": ["rope", "rope"], "parallel": True}],
        })),
    ),
    refuse=_has("rotation", "rope", _in_pieces("rope")),
    exact=True,
))  # fmt: skip

ACTIVATION = register(Technique(
    name="fused-activation",
    title="Fused gated activation (SwiGLU, GeGLU)",
    family="kernels",
    mechanism="the activation of the gate and its product with the other half run as one kernel: their intermediate stays on the chip",
    citation="Hsu et al., Liger kernel, arXiv 2410.10989, §3.1",
    edits=(
        Edit("stack", "stack.kernel:activation", lambda s, settings: with_software(s, {
            "fuse": [{"name": "act_and_mul", "pattern": [ACTIVATIONS, "mul"]}],
        })),
    ),
    refuse=_has("activation", ACTIVATIONS, _no_rule("silu", "mul")),
    exact=True,
))  # fmt: skip

PROJECTIONS = register(Technique(
    name="fused-projections",
    title="Merged projections (QKV, gate and up)",
    family="kernels",
    mechanism="linear layers that read the same rows run as one wider product: rows are read once, tiles fill better, fewer launches",
    citation="Shoeybi et al., Megatron-LM, arXiv 1909.08053, §3",
    edits=(Edit("stack", "stack.merge_linears", lambda s, settings: with_software(s, {"merge_linears": True})),),
    refuse=_has("projection", "linear|grouped_linear", lambda s: not s.stack.merge_linears),
    exact=True,
))  # fmt: skip
