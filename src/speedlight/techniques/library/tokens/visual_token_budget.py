"""Fewer picture tokens in a prompt."""

from __future__ import annotations

import numpy as np

from ...._foundation.arrays import Value
from ...._foundation.expr import evaluate
from ....scenario.scenario import Scenario
from ...conditions import every, generates, inference
from ...edits import with_rewrite, with_workload
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def picture_tokens(subject: Subject) -> Value:
    """Tokens that a prompt's pictures take; 0 for a model that sees none."""
    length, asked = subject.graph.attrs.get("length"), subject.graph.attrs.get("asked")
    if length is None or asked is None or not subject.graph.attrs.get("beside"):
        return 0
    return evaluate(length, {**asked, **subject.workload.symbols})


def sees(subject: Subject, settings: Settings) -> Refusal | None:
    if np.all(np.asarray(picture_tokens(subject)) > 0):
        return None
    return Refusal(
        "the model sees no pictures, or none are asked about",
        "a vision-language model such as llava-1.5-7b, with --images",
    )


def shortened(subject: Subject, dropped: Value) -> Scenario:
    """Prompt and context without so many picture tokens."""
    w = subject.workload
    if w.groups:
        return subject.scenario
    return with_workload(subject, isl=np.maximum(w.isl - dropped, 1), context=np.maximum(w.context - dropped, 1))


def _drop(subject: Subject, settings: Settings) -> Scenario:
    many = picture_tokens(subject)
    kept = settings["tokens"] if settings["tokens"] else np.ceil(many * settings["keep"])
    return shortened(subject, np.maximum(many - kept, 0))


BUDGET = register(Technique(
    name="visual-token-budget",
    title="A budget of visual tokens (HiRED, DivPrune)",
    family="tokens",
    mechanism="of a picture's tokens a share goes to the language model, chosen by the vision encoder's attention or by their diversity; its prompt, KV cache and attention are as short",
    papers=("hired", "divprune"),
    citation="HiRED, arXiv 2408.10945; DivPrune, arXiv 2503.02175",
    parameters=(
        Parameter("keep", 0.2, "share of the picture tokens that is kept", low=0.0, high=1.0, trials=(0.1, 0.4), source="HiRED, arXiv 2408.10945: a 20 % budget", neutral=1.0),
        Parameter("tokens", 0, "kept tokens of a prompt's pictures in all; 0 to go by the share", "token", low=0),
    ),
    edits=(Edit("workload", "prompt", _drop),),
    refuse=every(inference, generates, sees),
))  # fmt: skip


def _fuse(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "fused_before", layers=settings["layers"])


LLAVA_MINI = register(Technique(
    name="vision-token-fusion",
    title="One vision token, pictures fused into the text before the language model (LLaVA-Mini)",
    family="tokens",
    mechanism="a few layers let text tokens take up a picture's before the language model, which then sees one token a picture",
    papers=("llava-mini",),
    citation="LLaVA-Mini, arXiv 2501.03895",
    parameters=(
        Parameter("tokens", 1, "tokens that a prompt's pictures are left with", "token", low=1, source="LLaVA-Mini, arXiv 2501.03895, abstract"),
        Parameter("layers", 4, "layers that fuse, each like the language model's", "layer", low=0, high=32),
    ),
    edits=(
        Edit("graph", "fusion", _fuse),
        Edit("workload", "prompt", lambda subject, settings: shortened(subject, np.maximum(picture_tokens(subject) - settings["tokens"], 0))),
    ),
    refuse=every(inference, generates, sees),
))  # fmt: skip
