"""Sparse prefill: of a prompt's score matrix only the blocks that matter."""

from __future__ import annotations

from ...attention_kernels import attends
from ...conditions import every, inference, phases
from ...edits import with_rewrite
from ...technique import Edit, Parameter, Technique, register

SPARSE = register(Technique(
    name="sparse-prefill",
    title="Block-sparse attention over prompts",
    family="kernels",
    mechanism="blocks of query and key tiles chosen per head are computed, the rest is skipped; steps on the cache stay whole",
    papers=(),
    citation="Jiang et al., MInference 1.0, arXiv 2407.02490",
    parameters=(Parameter("keep", 0.2, "share of the unmasked pairs computed", low=0.01, high=1.0, neutral=1.0, trials=(0.05,)),),
    edits=(Edit("graph", "attention-pattern", lambda s, settings: with_rewrite(s, "sparse_attention", keep=settings["keep"])),),
    refuse=every(attends, inference, phases("prefill", "generate", "forward")),
))  # fmt: skip
