"""Budgets of the cache that differ from layer to layer."""

from __future__ import annotations

from ...caches import cached, rewritten
from ...technique import Parameter, Quote, Technique, register

LAYERS = register(Technique(
    name="kv-layer-budgets",
    title="KV budgets by layer (pyramids, SqueezeAttention, DynamicKV)",
    family="kv",
    mechanism="each layer keeps its own budget of tokens, from a mean spread up and down over the layers: less is kept and less is read",
    papers=("squeezeattention", "dynamickv"),
    citation="PyramidKV, arXiv 2406.02069; SqueezeAttention, arXiv 2404.04793; DynamicKV, arXiv 2412.14838",
    parameters=(
        Parameter("tokens", 2048, "mean budget of a layer and sequence", "token", low=1, trials=(512,)),
        Parameter("spread", 0.6, "budgets run from 1 − spread to 1 + spread times the mean", low=0.0, high=1.0),
    ),
    edits=(rewritten("kv tokens", "kv_kept"),),
    refuse=cached,
    quality=(
        Quote("LongBench with 1.7 % of the cache", "about 85 % of full performance", "DynamicKV, abstract"),
        Quote("Needle-in-a-Haystack with 0.9 %", "11 % over the state of the art, Mistral-7B-Instruct-v0.2", "DynamicKV, abstract"),
    ),
))  # fmt: skip
