"""Some heads keep everything, the others a window with sinks."""

from __future__ import annotations

from ...caches import by_heads, rewritten
from ...conditions import every
from ...technique import Parameter, Technique, register

HEADS = register(Technique(
    name="kv-head-budgets",
    title="Retrieval heads whole, streaming heads a window (DuoAttention, Ada-KV)",
    family="kv",
    mechanism="a share of the heads keeps every token, the others sinks and a window: less is kept and less is read",
    citation="DuoAttention, arXiv 2410.10819; Ada-KV, arXiv 2407.11550",
    parameters=(
        Parameter("whole", 0.25, "share of the heads that keep everything", low=0.0, high=1.0, neutral=1.0, trials=(0.5,)),
        Parameter("tokens", 384, "tokens the others keep", "token", low=1),
    ),
    edits=(rewritten("kv tokens", "kv_kept"),),
    refuse=every(by_heads),
))  # fmt: skip
