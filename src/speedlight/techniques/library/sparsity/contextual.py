"""Neurons that a token does not need: neither read nor multiplied. What one token saves, a batch of different tokens gives back."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, inference, transformer
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _neurons(subject: Subject, settings: Settings) -> Refusal | None:
    roles = {dim.role for dim in subject.graph.dims.values()}
    return (
        None if "ffn" in roles else Refusal("the model has no dense feed-forward layers whose neurons could be chosen")
    )


def _gated(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.name.rpartition(".")[2] == "gate_proj" for _, op in subject.graph.ops()):
        return None
    return Refusal(
        "its feed-forward layers have no gate whose result could choose", "contextual-sparsity, which predicts"
    )


def _thresholded(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "active_neurons", share=1 - float(settings["sparsity"]), dense="gate_proj")


CATS = register(Technique(
    name="cats",
    title="Thresholded gates (CATS)",
    family="sparsity",
    mechanism="the gate of a feed-forward layer runs whole; where its result is small, the neuron's rows of the other two matrices are not read",
    papers=("cats",),
    citation="CATS, arXiv 2404.08763",
    parameters=(Parameter("sparsity", 0.5, "share of the gate's results set to zero", low=0.0, high=0.99, trials=(0.7,), neutral=0.0),),
    edits=(Edit("graph", "neurons", _thresholded),),
    refuse=every(inference, transformer, _neurons, _gated),
))  # fmt: skip


def _predicted(subject: Subject, settings: Settings) -> Scenario:
    share, rank = 1 - float(settings["sparsity"]), int(settings["rank"])
    return with_rewrite(subject, "active_neurons", share=share, dense="", rank=rank)


CONTEXTUAL = register(Technique(
    name="contextual-sparsity",
    title="Contextual sparsity with a predictor (Deja Vu, adaptive computation modules)",
    family="sparsity",
    mechanism="a thin predictor beside each feed-forward layer says which neurons a token needs; only their rows are read and multiplied",
    papers=("adaptive-computation-modules",),
    citation="Deja Vu, arXiv 2310.17157; Adaptive computation modules",
    parameters=(
        Parameter("sparsity", 0.75, "share of the neurons that stay out", low=0.0, high=0.99, trials=(0.9,)),
        Parameter("rank", 1024, "inner width of the predictor; 0 for none", low=0, high=65536),
    ),
    edits=(Edit("graph", "neurons", _predicted),),
    refuse=every(inference, transformer, _neurons),
))  # fmt: skip
