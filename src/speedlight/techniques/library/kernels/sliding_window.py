"""Sliding-window attention: each token sees the last so many."""

from __future__ import annotations

from ...conditions import every, generates
from ...edits import with_rewrite
from ...technique import Edit, Parameter, Technique, register

WINDOW = register(Technique(
    name="sliding-window-attention",
    title="Sliding-window attention",
    family="kernels",
    mechanism="layers see a window of the last tokens: prompts cost no more than the window a token, and no more than it is kept",
    papers=(),
    citation="Beltagy et al., Longformer, arXiv 2004.05150; Jiang et al., Mistral 7B, arXiv 2310.06825, §2",
    parameters=(
        Parameter("window", 4096, "tokens seen", "tokens", low=1, source="arXiv 2310.06825, table 1"),
        Parameter("layers", 1.0, "share of the layers that see no more", low=0.0, high=1.0, neutral=0.0, trials=(0.5,)),
    ),
    edits=(Edit("graph", "attention-pattern", lambda s, settings: with_rewrite(s, "kv_window", **settings)),),
    refuse=every(generates),
))  # fmt: skip
