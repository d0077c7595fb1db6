"""A draft model's layers side by side on the devices of a tensor-parallel group."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Parallel, Rewrite, Scenario
from ...conditions import every
from ...speculation import ACCEPTANCE, SLOT, drafts, kept, speculates, with_drafts
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register
from .speculative import draft_of


def _group(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.sharded("tp"):
        return None
    return Refusal(
        "one device has no others that would stand idle while it drafts", "--tp 2 or more, or speculative-decoding"
    )


def _beside(subject: Subject, settings: Settings) -> Scenario:
    """Groups of neighbouring layers run at once, a layer a device: the draft is so many times shallower, undivided."""
    k = settings["drafts"]
    model = draft_of(subject, settings["draft"], settings["size"])
    shallow = Rewrite("keep_layers", (("share", 1 / settings["together"]),))
    model = dataclasses.replace(model, rewrites=(*model.rewrites, shallow))
    return with_drafts(subject, [(model, k)], k + 1, kept(settings["acceptance"], k), parallel=Parallel())


PARALLEL = register(Technique(
    name="layer-parallel-drafting",
    title="Layer-parallel drafting (EasySpec)",
    family="decoding",
    mechanism="several layers of the draft run at once on devices that would wait, on the same stale input; the cache is put right in one pass",
    papers=("easyspec",),
    citation="EasySpec, arXiv 2502.02493",
    parameters=(
        Parameter("draft", "", "the drafting model by name; a slice of the model's own layers where none is named"),
        Parameter("size", 0.1, "layers of an unnamed draft over the model's", low=0.01, high=1.0),
        Parameter("together", 4, "layers that run at once", low=1, high=64, trials=(2,)),
        drafts(5),
        ACCEPTANCE,
    ),
    edits=(Edit("schedule", SLOT, _beside),),
    refuse=every(speculates, _group),
    quality=(Quote("drafting accuracy", "at most 7 % lower, no training", "EasySpec, abstract"),),
    exact=True,
))  # fmt: skip
