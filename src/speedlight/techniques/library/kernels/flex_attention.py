"""FlexAttention: a generated kernel that skips the blocks a mask leaves empty."""

from __future__ import annotations

from ...attention_kernels import attends
from ...conditions import every
from ...edits import with_rewrite
from ...technique import Edit, Parameter, Technique, register

FLEX = register(Technique(
    name="flex-attention",
    title="FlexAttention (generated kernels for any mask)",
    family="kernels",
    mechanism="score changes and masks become code inside one fused kernel; tiles that a mask leaves empty are never visited",
    papers=("flex-attention", "tvm"),
    citation="Dong et al., arXiv 2412.05496",
    parameters=(Parameter("density", 1.0, "share of the unmasked pairs that the mask keeps", low=0.01, high=1.0, neutral=1.0, trials=(0.5,)),),
    edits=(Edit("graph", "attention-pattern", lambda s, settings: with_rewrite(s, "sparse_attention", keep=settings["density"])),),
    refuse=every(attends),
))  # fmt: skip
