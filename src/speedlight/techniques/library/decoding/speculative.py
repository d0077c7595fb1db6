"""A small model drafts, the model verifies."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import ModelRef, Rewrite, Scenario
from ...conditions import every
from ...speculation import ACCEPTANCE, SLOT, drafts, kept, speculates, with_drafts
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register

NO_DRAFT = ""


def draft_of(subject: Subject, name: str, share: float) -> ModelRef:
    """The drafting model: one by name, else one of the question's make with a share of its layers."""
    own = subject.model
    if name:
        return ModelRef(name, dtype=own.dtype, models_dir=own.models_dir)
    fewer = Rewrite("keep_layers", (("share", share),))
    return dataclasses.replace(own, rewrites=(*own.rewrites, fewer), mtp=0)


def _drafted(subject: Subject, settings: Settings) -> Scenario:
    k = settings["drafts"]
    outputs = kept(settings["acceptance"], k)
    return with_drafts(subject, [(draft_of(subject, settings["draft"], settings["size"]), k)], k + 1, outputs)


SPECULATIVE = register(Technique(
    name="speculative-decoding",
    title="Speculative decoding with a draft model",
    family="decoding",
    mechanism="a small model drafts k tokens one after the other, one pass of the model verifies them all: its weights and the cache are read once for several tokens",
    papers=("bass", "dovetail"),
    citation="Leviathan et al., arXiv 2211.17192; BASS (batched, ragged lengths), arXiv 2404.15778",
    parameters=(
        Parameter("draft", "", "the drafting model by name; a slice of the model's own layers where none is named"),
        Parameter("size", 0.1, "layers of an unnamed draft over the model's", low=0.01, high=1.0),
        drafts(4, 2, 7),
        ACCEPTANCE,
    ),
    edits=(Edit("schedule", SLOT, _drafted),),
    refuse=every(speculates),
    exact=True,
))  # fmt: skip
