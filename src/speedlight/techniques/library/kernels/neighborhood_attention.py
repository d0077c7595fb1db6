"""Neighbourhood attention: each position sees those around it."""

from __future__ import annotations

from ...attention_kernels import attends
from ...conditions import every
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _unmasked(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.fn == "sdpa" and not op.attrs.get("causal") for _, op in subject.graph.ops()):
        return None
    return Refusal("attention is causal", "sliding-window-attention")


NEIGHBORHOOD = register(Technique(
    name="neighborhood-attention",
    title="Neighbourhood (local window) attention, fused",
    family="kernels",
    mechanism="each position meets the keys in a window around it: products are linear in positions, scores stay on the chip",
    papers=("faster-neighborhood-attention",),
    citation="Hassani et al., arXiv 2403.04690",
    parameters=(Parameter("window", 169, "keys in the window, over all dimensions (13 × 13)", "tokens", low=1, trials=(49,)),),
    edits=(Edit("graph", "attention-pattern", lambda s, settings: with_rewrite(s, "sparse_attention", window=settings["window"])),),
    refuse=every(attends, _unmasked),
))  # fmt: skip
