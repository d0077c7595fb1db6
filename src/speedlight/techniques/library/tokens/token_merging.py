"""Tokens merged layer by layer."""

from __future__ import annotations

from ....graph.rewrite.captured_tokens import attending_layers
from ....scenario.scenario import Scenario
from ...conditions import every, phases
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register
from .layers import falling, layered


def _merge(subject: Subject, settings: Settings) -> Scenario:
    if settings["keep"] == 1:
        return subject.scenario
    return with_rewrite(subject, "thinned_tokens", shares=falling(settings["keep"]), match=True)


def _tokens(subject: Subject, settings: Settings) -> Refusal | None:
    return None if attending_layers(subject.graph) else layered(subject, settings)


TOKEN_MERGING = register(Technique(
    name="token-merging",
    title="Token merging and fusion (ToMe, multi-criteria token fusion)",
    family="tokens",
    mechanism="each part of the stack of layers merges the most similar tokens, so later layers attend to and multiply fewer of them",
    papers=("multi-criteria-token-fusion-with-one-step-ahead-attention-fo",),
    citation="ToMe, arXiv 2210.09461; multi-criteria token fusion, arXiv 2403.10030",
    parameters=(
        Parameter("keep", 0.35, "share of the tokens that is left behind the last layers", low=0.02, high=1.0, trials=(0.1, 0.6), neutral=1.0),
    ),
    edits=(Edit("graph", "tokens", _merge),),
    refuse=every(phases("forward", "prefill"), _tokens),
    quality=(
        Quote("top-1 of DeiT-T at 44 % less work", "+0.5 points", "multi-criteria token fusion, abstract"),
        Quote("top-1 of DeiT-S at 44 % less work", "+0.3 points", "multi-criteria token fusion, abstract"),
    ),
))  # fmt: skip
