"""Layers, or halves of layers, that a model can do without."""

from __future__ import annotations

from collections.abc import Callable

from ....scenario.scenario import Scenario
from ...conditions import every, has, inference
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _dropped(what: str) -> Callable[[Subject, Settings], Scenario]:
    return lambda subject, settings: with_rewrite(subject, "without", share=float(settings["share"]), what=what)


def _share(default: float, source: str = "") -> Parameter:
    return Parameter("share", default, "of the layers", low=0.0, high=0.95, trials=(0.25,), source=source, neutral=0.0)


_ATTENTION = has("attention", what="attention layers")

ATTENTION = register(Technique(
    name="attention-dropping",
    title="Attention layers left out",
    family="sparsity",
    mechanism="attention halves whose input and output nearly agree are removed: their weights, caches, launches and messages go with them",
    papers=("what-matters-in-transformers-not-all-attention-is-needed", "mlp-can-be-a-good-transformer-learner"),
    citation="What matters in transformers?, arXiv 2406.15786; MLP can be a good transformer learner",
    parameters=(_share(0.5, "What matters in transformers?, abstract"),),
    edits=(Edit("graph", "depth.attention", _dropped("attention")),),
    refuse=every(inference, _ATTENTION),
    quality=(
        Quote("performance of Llama-2-70B with half of its attention layers", "−2.4 %", "What matters in transformers?, abstract"),
        Quote("DeiT-B without 40 % of its attention layers on ImageNet-1k", "no loss", "MLP can be a good transformer learner, abstract"),
    ),
))  # fmt: skip

FEED_FORWARD = register(Technique(
    name="ffn-dropping",
    title="Feed-forward layers left out",
    family="sparsity",
    mechanism="feed-forward halves are removed: two thirds of a layer's weights go with each",
    papers=("what-matters-in-transformers-not-all-attention-is-needed",),
    citation="What matters in transformers?, arXiv 2406.15786",
    parameters=(_share(0.25),),
    edits=(Edit("graph", "depth.feed_forward", _dropped("feed_forward")),),
    refuse=every(inference, _ATTENTION),
))  # fmt: skip

LAYERS = register(Technique(
    name="layer-dropping",
    title="Whole layers left out (depth pruning)",
    family="sparsity",
    mechanism="repeated layers are removed with all they hold and do",
    papers=("what-matters-in-transformers-not-all-attention-is-needed",),
    citation="ShortGPT, arXiv 2403.03853; What matters in transformers?, arXiv 2406.15786",
    parameters=(_share(0.25),),
    edits=(Edit("graph", "depth", _dropped("layer")),),
    refuse=every(inference, _ATTENTION),
    also=("attention-dropping", "ffn-dropping"),
    quality=(Quote("MMLU of Llama-2-13B without 31 attention and feed-forward layers", "90 % retained", "What matters in transformers?, abstract"),),
))  # fmt: skip
