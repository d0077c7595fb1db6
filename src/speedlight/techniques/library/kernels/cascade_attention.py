"""Cascade attention: a prefix that sequences share is read once for all of them."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...attention_kernels import attends
from ...conditions import decoding, every
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _shared(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "shared_prefix", **settings)


CASCADE = register(Technique(
    name="cascade-attention",
    title="Composable KV formats: shared prefixes read once (FlashInfer cascade, Hydragen)",
    family="kernels",
    mechanism="queries of all sequences meet the shared prefix in one product, the rest each on its own; partial softmaxes are merged",
    papers=("flashinfer",),
    citation="Ye et al., FlashInfer, arXiv 2501.01005, §3.1; Juravsky et al., Hydragen, arXiv 2402.05099",
    parameters=(
        Parameter("share", 0.5, "share of each context that sequences have in common", low=0.0, high=1.0, neutral=0.0, trials=(0.9,)),
        Parameter("among", 0.0, "sequences that have it in common; 0 for all", low=0.0),
    ),
    edits=(Edit("graph", "kv-reads", _shared),),
    refuse=every(attends, decoding),
    exact=True,
))  # fmt: skip
