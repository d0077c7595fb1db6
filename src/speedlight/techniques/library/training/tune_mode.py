"""Frozen batch norms folded into the convolutions while the network trains."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, training
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _fold(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "fold_batch_norm", frozen=True)


def _has_norms(subject: Subject, settings: Settings) -> Refusal | None:
    return None if subject.has(fn="batch_norm") else Refusal("the model has no batch norms")


TUNE = register(Technique(
    name="tune-mode-conv-bn",
    title="Tune mode of ConvBN blocks",
    family="training",
    mechanism="frozen batch norms become part of the weights before them: one result less is written, kept and read per block",
    papers=("efficient-convbn-blocks-for-transfer-learning-and-beyond",),
    citation="You et al., Efficient ConvBN Blocks, arXiv 2305.11624",
    edits=(Edit("graph", "batch_norm", _fold),),
    refuse=every(training, _has_norms),
))  # fmt: skip
