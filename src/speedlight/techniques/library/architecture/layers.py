"""Layers of another kind: memories, Monarch products, experts of attention heads."""

from __future__ import annotations

from ....graph.rewrite.resized import token_layers
from ....scenario.scenario import Scenario
from ...conditions import every, phases
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def layered(subject: Subject, settings: Settings) -> Refusal | None:
    if token_layers(subject.graph):
        return None
    return Refusal("its graph has no repeated layers counted in tokens", "a transformer by its configuration")


def _dense(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.has("moe"):
        return Refusal("its feed-forward parts are experts already", "a dense model")
    return None


def _memory(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "product_key_memory", **settings)


MEMORY = register(Technique(
    name="product-key-memory",
    title="Product-key memories and millions of experts of one neuron (memory layers, PEER)",
    family="architecture",
    mechanism="feed-forward parts of some layers become a table of rows, of which each token's queries pick a few by products with two sets of half keys: parameters grow with the table, FLOPs with its root, reads with the picks",
    papers=("memory-layers-at-scale", "mixture-of-a-million-experts"),
    citation="Memory layers at scale, arXiv 2412.09764; PEER, arXiv 2407.04153",
    parameters=(
        Parameter("slots", 1_048_576, "rows of each table", "row", low=4, high=10**9, trials=(65_536,), source="PEER, abstract: over a million experts"),
        Parameter("heads", 4, "queries of a token", low=1, high=64),
        Parameter("picks", 32, "rows each query reads", "row", low=1, high=1024),
        Parameter("layers", 0.25, "share of the layers with a memory", low=0.0, high=1.0, neutral=0.0),
        Parameter("expert", False, "a row is an expert of one neuron, not a value"),
    ),
    edits=(Edit("graph", "feed-forward", _memory),),
    refuse=every(layered, _dense),
))  # fmt: skip


MONARCH = register(Technique(
    name="monarch-mixer",
    title="Monarch products for attention and feed-forward layers (Monarch Mixer)",
    family="architecture",
    mechanism="sequence mixing is a long convolution by products of √N × √N matrices, feed-forward weights are blocks along the diagonal: N^1.5 instead of N², and fewer weights",
    papers=("monarch-mixer",),
    citation="Monarch Mixer, arXiv 2310.12109",
    parameters=(
        Parameter("blocks", 4, "blocks along the diagonal of feed-forward weights", low=1, high=64),
        Parameter("mixer", True, "attention is replaced too"),
    ),
    edits=(Edit("graph", "mixer", lambda subject, settings: with_rewrite(subject, "monarch", **settings)), Edit("graph", "feed-forward", lambda subject, settings: subject.scenario)),
    refuse=every(phases("forward", "prefill"), layered),
))  # fmt: skip


SWITCHHEAD = register(Technique(
    name="switchhead",
    title="Fewer attention matrices, with experts for values and results (SwitchHead)",
    family="architecture",
    mechanism="attention has a few heads whose value and result projections are experts picked for each token: so many times fewer scores are computed and keys kept at the same parameters",
    papers=("switchhead",),
    citation="SwitchHead, arXiv 2312.07987",
    parameters=(
        Parameter("fewer", 5.0, "heads before over heads after", low=1.0, high=64.0, trials=(8.0,), source="SwitchHead, abstract: 4 to 8 times"),
        Parameter("experts", 5, "experts of a value or result projection", low=1, high=64),
        Parameter("picks", 2, "experts that a token runs", low=1, high=16),
    ),
    edits=(Edit("graph", "mixer", lambda subject, settings: with_rewrite(subject, "switched_heads", **settings)),),
    refuse=every(layered, lambda s, _: None if s.has("attention") else Refusal("the model has no attention")),
))  # fmt: skip
