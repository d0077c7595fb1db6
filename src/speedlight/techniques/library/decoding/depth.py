"""Fewer layers for every token, or for those that are sure early."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, inference, transformer
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _fixed(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "keep_layers", share=settings["kept"])


SKIPPED = register(Technique(
    name="unified-layer-skipping",
    title="A fixed set of layers skipped for a target speed-up",
    family="decoding",
    mechanism="the same evenly spaced middle layers are left out for every token, so batches and caches stay aligned; they are neither run nor held",
    papers=("accelerating-inference-in-large-language-models-with-a-unifi",),
    citation="Unified Layer Skipping, arXiv 2404.06954",
    parameters=(Parameter("kept", 0.75, "share of the layers that run", low=0.02, high=1.0, neutral=1.0, trials=(0.5,)),),
    edits=(Edit("graph", "layers", _fixed),),
    refuse=every(transformer, inference),
))  # fmt: skip

EXITS = register(Technique(
    name="expected-early-exit",
    title="Early exits by confidence (DeeR-VLA)",
    family="decoding",
    mechanism="a token leaves at the first exit that is sure: on average a share of the layers runs, and with a cap on the exit no more are held",
    papers=("deer-vla",),
    citation="DeeR-VLA, arXiv 2411.02359",
    parameters=(Parameter("kept", 0.5, "expected share of the layers that run", low=0.02, high=1.0, neutral=1.0, trials=(0.25,)),),
    edits=(Edit("graph", "layers", _fixed),),
    refuse=every(transformer, inference),
    quality=(Quote("CALVIN", "5.2 to 6.5x less LLM compute at competitive success", "DeeR-VLA, abstract"),),
))  # fmt: skip
