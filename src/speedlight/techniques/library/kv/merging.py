"""Similar keys and values merged instead of dropped."""

from __future__ import annotations

from ...caches import cached, rewritten
from ...technique import Parameter, Quote, Technique, register

MERGING = register(Technique(
    name="kv-merging",
    title="Merging similar keys and values (KVMerger)",
    family="kv",
    mechanism="runs of similar keys become one by weighted sums once the prompt is read: a share of the tokens is kept and read",
    papers=("model-tells-you-where-to-merge",),
    citation="Model Tells You Where to Merge, arXiv 2407.08454",
    parameters=(
        Parameter("share", 0.5, "of the tokens kept", low=1e-3, high=1.0, neutral=1.0, trials=(0.35,),
                  source="Model Tells You Where to Merge, abstract: budgets of 50 % and 35 %"),
    ),
    edits=(rewritten("kv tokens", "kv_kept"),),
    refuse=cached,
    quality=(Quote("LongBench, ZeroScrolls at 50 % and 35 %", "ahead of H2O and CaM, Llama-2-7B/13B-chat", "abstract"),),
))  # fmt: skip
