"""Layers that contribute little keep their weights."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import training
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _still(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "still_layers", share=settings["share"])


FROZEN = register(Technique(
    name="frozen-layers",
    title="Layer freezing in fine-tuning (SlimFit, sparse update)",
    family="training",
    mechanism="a share of the layers has no weight gradients and no optimizer states, and keeps no inputs of products for them",
    papers=("slimfit", "pockengine", "on-device-training-under-256kb-memory"),
    citation="SlimFit, arXiv 2305.18513; PockEngine, arXiv 2310.17752",
    parameters=(Parameter("share", 0.5, "share of the layers that stay as they are", low=0.0, high=1.0, neutral=0.0, trials=(0.9,)),),
    edits=(Edit("graph", "trainable", _still),),
    refuse=training,
    quality=(Quote("accuracy lost with up to 95 % of layers frozen, average of ViT and BERT tasks", "0.2 %", "SlimFit, abstract"),),
))  # fmt: skip
