"""Layered gradient accumulation and modular pipelines: all micro-batches through a layer before the next."""

from __future__ import annotations

import dataclasses

import numpy as np

from ....engine.training.layout import micro_batch
from ....scenario.scenario import Scenario
from ...conditions import every, replicated, runs
from ...edits import with_training, with_wire
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _micro_batches(subject: Subject) -> object:
    w = subject.workload
    return w.batch / (subject.parallel.dp * micro_batch(w, subject.parallel))


def _weights(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "weights", period=_micro_batches(subject))


def _gradients(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "gradients", period=_micro_batches(subject))


def _modular(subject: Subject, settings: Settings) -> Scenario:
    """Layers dealt one by one, so that a rank's chunks are single layers: the shortest fill there is."""
    if not subject.sharded("pp"):
        return subject.scenario
    layers = int(subject.graph.attrs.get("n_layers", 0))
    return with_training(subject, schedule="interleaved", virtual=layers / subject.parallel.pp)


def _whole(subject: Subject, settings: Settings) -> Scenario:
    return _modular(dataclasses.replace(subject, scenario=_weights(subject, settings)), settings)


def _sharded(subject: Subject, settings: Settings) -> Refusal | None:
    if np.any(np.asarray(subject.parallel.zero) != 3):
        return Refusal("no weights are gathered for every micro-batch", "--zero 3 first")
    if np.any(np.asarray(_micro_batches(subject)) < 2):
        return Refusal("there is one micro-batch", "a smaller --micro-batch")
    return None


LAYERED = register(Technique(
    name="layered-gradient-accumulation",
    title="Layered gradient accumulation and modular pipeline parallelism",
    family="parallel",
    mechanism="all micro-batches pass a layer before the next one begins, so that its weights are gathered and its gradients reduced once a step; pipeline ranks take layers in turn",
    papers=("layered-gradient-accumulation-and-modular-pipeline-paralleli",),
    citation="Lamy-Poirier, arXiv 2106.02679",
    edits=(
        Edit("placement", "wire:weights:when", _weights), Edit("placement", "wire:gradients:when", _gradients),
        Edit("schedule", "schedule", _modular),
    ),
    refuse=every(replicated, _sharded, runs(_whole)),
    exact=True,
))  # fmt: skip
