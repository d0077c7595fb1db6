"""Tensor parallelism: heads and widths over devices, their partial sums added up twice a layer."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has, runs
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from ._trade import traded


def _divide(subject: Subject, settings: Settings) -> Scenario:
    return traded(subject, "tp", settings["degree"])


def _alone(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.sharded("tp") or subject.sharded("ep"):
        return Refusal("its heads and widths are divided already", "another --tp")
    return None


TENSOR_PARALLEL = register(Technique(
    name="tensor-parallel",
    title="Tensor parallelism (Megatron-LM)",
    family="parallel",
    mechanism="heads, feed-forward widths and the vocabulary are divided; partial sums of tokens × hidden are added up twice a layer",
    papers=("redco", "efficient-large-scale-language-model-training-on-gpu-cluster"),
    citation="Shoeybi et al., arXiv 1909.08053",
    parameters=(Parameter("degree", 2, "ranks", low=2, trials=(4, 8)),),
    edits=(Edit("placement", "tp", _divide),),
    refuse=every(has("matmul", what="linear layers"), _alone, runs(_divide)),
    exact=True,
))  # fmt: skip
