"""Tokens dropped from the cache by a budget."""

from __future__ import annotations

from ...caches import cached, rewritten
from ...technique import Parameter, Quote, Technique, register

EVICTION = register(Technique(
    name="kv-eviction",
    title="KV eviction to a token budget (heavy hitters, SnapKV, Locret)",
    family="kv",
    mechanism="after a prompt, and while tokens are generated, all but a budget of each layer's keys and values are dropped: less is kept and less is read",
    papers=("locret", "dynamickv"),
    citation="H2O, arXiv 2306.14048; SnapKV, arXiv 2404.14469; Locret, arXiv 2410.01805",
    parameters=(
        Parameter("tokens", 0, "budget of a layer and sequence; 0 to keep a share instead", "token", low=0, trials=(1024, 4096)),
        Parameter("share", 0.2, "of the tokens kept where no budget is given", low=1e-4, high=1.0, neutral=1.0),
    ),
    edits=(rewritten("kv tokens", "kv_kept"),),
    refuse=cached,
    quality=(
        Quote("Phi-3-mini-128K at over 20x, Llama-3.1-8B-instruct at over 8x", "128K context on one RTX 4090", "Locret, abstract"),
    ),
))  # fmt: skip
