"""Prompt tokens leave after half of the layers."""

from __future__ import annotations

from ...caches import by_heads, reads_prompts, rewritten
from ...conditions import every, phases
from ...technique import Parameter, Technique, register

SWIFT = register(Technique(
    name="single-input-kv",
    title="Later layers' keys and values from an early layer (SwiftKV)",
    family="kv",
    mechanism="prompt tokens run only the first layers; the others' keys and values are made from what those hand on, and their attention and MLPs run for the last token alone",
    papers=("swiftkv",),
    citation="SwiftKV, arXiv 2410.03960",
    parameters=(
        Parameter("layers", 0.5, "share of the layers that prompt tokens pass by", low=0.0, high=0.97, neutral=0.0, trials=(0.25,)),
    ),
    edits=(rewritten("prompt layers", "prompt_passes"),),
    refuse=every(by_heads, reads_prompts, phases("prefill", "generate")),
    also=("speculative-decoding", "prompt-lookup"),
))  # fmt: skip
