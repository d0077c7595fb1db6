"""Harmony: one layer's work of all micro-batches together, so that its weights are swapped once."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...edits import with_training
from ...placing import offloaded_training, with_offloaded
from ...subject import Subject
from ...technique import Edit, Settings, Technique, register


def _once(subject: Subject, settings: Settings) -> Scenario:
    share = subject.workload.batch / subject.parallel.dp
    outside = Subject(with_offloaded(subject, "host", "weights", "optimizer", "gradients"))
    return with_training(outside, micro_batch=share)


GROUPED = register(Technique(
    name="grouped-weight-swaps",
    title="Weights swapped once for all micro-batches (Harmony)",
    family="offload",
    mechanism="a layer runs for a replica's whole batch before its weights leave, instead of coming again for every micro-batch",
    papers=("harmony",),
    citation="Harmony, arXiv 2202.01306",
    edits=(Edit("workload", "training.offload", _once),),
    refuse=offloaded_training,
    exact=True,
))  # fmt: skip
