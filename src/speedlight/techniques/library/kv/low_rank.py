"""Keys and values projected onto fewer dimensions."""

from __future__ import annotations

from ...caches import by_heads, rewritten
from ...technique import Parameter, Quote, Technique, register

RANK = register(Technique(
    name="kv-low-rank",
    title="Low-rank keys and values (MatryoshkaKV, Palu)",
    family="kv",
    mechanism="keys and values are kept as projections onto fewer dimensions, folded into the layers around: bytes kept and read and attention's products fall alike",
    papers=("matryoshkakv",),
    citation="MatryoshkaKV, arXiv 2410.14731; Palu, arXiv 2407.21118",
    parameters=(
        Parameter("kept", 0.4, "share of the dimensions kept", low=0.01, high=1.0, neutral=1.0, trials=(0.25,),
                  source="MatryoshkaKV, abstract: 60 % compression on average, 75 % at most"),
    ),
    edits=(rewritten("kv width", "kv_width"),),
    refuse=by_heads,
    quality=(Quote("LLaMA2-7B-base, Mistral-7B-v0.3-base at 60 %", "over 90 % of their performance", "MatryoshkaKV, abstract"),),
))  # fmt: skip
