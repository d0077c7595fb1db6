"""Layers that attend to another layer's keys and values."""

from __future__ import annotations

from ...caches import by_heads, rewritten
from ...technique import Parameter, Technique, register

SHARING = register(Technique(
    name="kv-layer-sharing",
    title="Cross-layer KV sharing (KVSharer, CLA)",
    family="kv",
    mechanism="a share of the layers neither computes nor keeps keys and values: less is kept, as much is read; time changes by projections left out and by the batch that fits",
    papers=("kvsharer", "swiftkv"),
    citation="KVSharer, arXiv 2410.18517; cross-layer attention, arXiv 2405.12981",
    parameters=(
        Parameter("layers", 0.25, "share of the layers without keys and values of their own", low=0.0, high=0.97, neutral=0.0,
                  trials=(0.5,)),
    ),
    edits=(rewritten("kv layers", "kv_shared"),),
    refuse=by_heads,
))  # fmt: skip
