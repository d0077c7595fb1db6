"""A large model for some of the tokens, a smaller one for the rest."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...conditions import every
from ...speculation import SLOT, speculates
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register
from .speculative import draft_of


def _staged(subject: Subject, settings: Settings) -> Scenario:
    """Of every token a share is the small model's: each model runs that share of the steps."""
    share, main = settings["share"], subject.program
    if share == 0:
        return subject.scenario
    small = dataclasses.replace(
        main, name="small", model=draft_of(subject, settings["small"], settings["size"]),
        workload=dataclasses.replace(main.workload, outputs=1 / share),
    )  # fmt: skip
    large = dataclasses.replace(main, workload=dataclasses.replace(main.workload, outputs=1 / max(1 - share, 1e-9)))
    return subject.scenario.replace(programs=(large, small), main=main.name)


STAGED = register(Technique(
    name="staged-models",
    title="Models of several sizes over the steps of one generation (CoDe, nested transformers)",
    family="decoding",
    mechanism="a large model makes the few tokens that decide, a smaller or nested one the many that refine them: FLOPs, weights read and cache fall with its share",
    papers=(
        "collaborative-decoding-makes-visual-auto-regressive-modeling", "masked-generative-nested-transformers-with-decode-time-scali",
    ),
    citation="Collaborative Decoding, arXiv 2411.17787; Masked Generative Nested Transformers, arXiv 2502.00382",
    parameters=(
        Parameter("small", "", "the smaller model by name; a slice of the model's own layers where none is named"),
        Parameter("size", 0.25, "layers of an unnamed smaller model over the model's", low=0.01, high=1.0),
        Parameter("share", 0.6, "share of the tokens the smaller model makes", low=0.0, high=0.99, neutral=0.0, trials=(0.8,)),
    ),
    edits=(Edit("schedule", SLOT, _staged),),
    refuse=every(speculates),
    whatif=False,
))  # fmt: skip
