"""Linear attention in place of softmax attention."""

from __future__ import annotations

from ...attention_kernels import attends
from ...conditions import every
from ...edits import with_rewrite
from ...technique import Edit, Parameter, Technique, register

LINEAR = register(Technique(
    name="linear-attention",
    title="Linear attention, retention and state-space forms (chunk-wise kernels)",
    family="kernels",
    mechanism="a matrix state a head takes the place of all keys and values: linear in tokens, a step reads the state, not the context",
    papers=(),
    citation="Katharopoulos et al., arXiv 2006.16236; chunk-wise: Yang et al., GLA, arXiv 2312.06635; Sun et al., RetNet, arXiv 2307.08621",
    parameters=(Parameter("chunk", 64, "tokens that meet each other before the state is handed on", "tokens", low=1, trials=(256,)),),
    edits=(Edit("graph", "attention-pattern", lambda s, settings: with_rewrite(s, "linear_attention", chunk=settings["chunk"])),),
    refuse=every(attends),
    also=("kv-quantization", "kv-eviction"),
))  # fmt: skip
