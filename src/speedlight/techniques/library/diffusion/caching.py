"""Steps that compute a part and take the rest from an earlier step, or run a smaller part of the model."""

from __future__ import annotations

from ....graph.rewrite.denoiser import is_unet
from ....scenario.scenario import Rewrite, Scenario
from ...conditions import every, inference
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from .pipeline import split, whole


def _cached(subject: Subject, settings: Settings) -> Scenario:
    every_nth = settings["every"]
    if every_nth == 1:
        return subject.scenario
    if is_unet(subject.graph):
        cheap = Rewrite("outer_levels", (("levels", settings["levels"]),))
    else:
        cheap = Rewrite("keep_layers", (("share", settings["depth"]),))
    full = 1 / every_nth
    return split(subject.scenario, (("full", full, ()), ("cached", 1 - full, (cheap,))))


FEATURE_CACHING = register(Technique(
    name="feature-caching",
    title="Features of deep layers reused over steps (DeepCache, Δ-DiT, FORA)",
    family="diffusion",
    mechanism="one step in so many runs in full and keeps its deep features; the steps between run the outer levels of a U-Net, or a few layers of a transformer, on top of them",
    citation="DeepCache, arXiv 2312.00858; Δ-DiT, arXiv 2406.01125",
    parameters=(
        Parameter("every", 3, "steps from one full step to the next", "step", low=1, trials=(2, 5), neutral=1),
        Parameter("levels", 1, "levels of a U-Net that the steps between run", low=1, high=4),
        Parameter("depth", 0.25, "share of a transformer's layers that the steps between run", low=0.01, high=1.0),
    ),
    edits=(Edit("graph", "step-parts", _cached),),
    refuse=every(inference, whole),
))  # fmt: skip


def _narrows(subject: Subject, settings: Settings) -> Refusal | None:
    if any(d.role in ("heads", "ffn") for d in subject.graph.dims.values()):
        return None
    return Refusal("its denoiser names no heads and no neurons", "a diffusion transformer such as flux.1-dev")


def _nested(subject: Subject, settings: Settings) -> Scenario:
    width = settings["width"]
    if settings["share"] == 0 or width == 1:
        return subject.scenario
    small = Rewrite("narrowed", (("ffn", width), ("heads", width)))
    return split(subject.scenario, (("full", 1 - settings["share"], ()), ("nested", settings["share"], (small,))))


NESTED = register(Technique(
    name="nested-models",
    title="Nested sub-models over decoding steps (MaGNeTS)",
    family="diffusion",
    mechanism="some of the steps run a narrower sub-model that shares the weights of the whole one",
    papers=("masked-generative-nested-transformers-with-decode-time-scali",),
    citation="Masked generative nested transformers with decode-time scaling, arXiv 2502.00382",
    parameters=(
        Parameter("share", 0.5, "share of the steps that run the sub-model", low=0.0, high=1.0, trials=(0.75,), neutral=0.0),
        Parameter("width", 0.5, "its share of feed-forward width and heads", low=0.05, high=1.0),
    ),
    edits=(Edit("graph", "step-parts", _nested),),
    refuse=every(inference, whole, _narrows),
))  # fmt: skip
