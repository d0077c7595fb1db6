"""Fewer keys and values computed and kept, the deeper the layer."""

from __future__ import annotations

from ...caches import cached, rewritten
from ...technique import Parameter, Technique, register

PYRAMID = register(Technique(
    name="kv-pyramid",
    title="Pyramid of crucial keys and values (PyramidInfer)",
    family="kv",
    mechanism="deeper layers keep ever fewer tokens' keys and values from the prompt on: the mean share is kept and read",
    papers=("pyramidinfer",),
    citation="PyramidInfer, arXiv 2405.12532",
    parameters=(
        Parameter("share", 0.46, "of the tokens kept, averaged over layers", low=1e-3, high=1.0, neutral=1.0, trials=(0.25,),
                  source="PyramidInfer, abstract: over 54 % less KV memory"),
    ),
    edits=(rewritten("kv tokens", "kv_kept"),),
    refuse=cached,
))  # fmt: skip
