"""ZeRO-Infinity: everything a model keeps on disks or in host memory, in shards over all devices."""

from __future__ import annotations

import numpy as np

from ....scenario.scenario import Scenario
from ...edits import with_parallel
from ...placing import offloaded_training, with_offloaded
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _sharded(subject: Subject, settings: Settings) -> Scenario:
    if not np.any(np.asarray(subject.parallel.dp) > 1):
        return subject.scenario
    return with_parallel(subject, zero=3)


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_offloaded(subject, settings["tier"], "optimizer", "gradients", "weights")


INFINITY = register(Technique(
    name="zero-infinity",
    title="Weights, gradients and states on NVMe or the host (ZeRO-Infinity)",
    family="offload",
    mechanism="every rank keeps its shard outside, brings it ahead of each layer forward and backward, and updates where states lie",
    papers=("zero-infinity",),
    citation="ZeRO-Infinity, arXiv 2104.07857",
    parameters=(Parameter("tier", "disk", "where they lie", choices=("disk", "host")),),
    edits=(Edit("workload", "training.offload", _out), Edit("placement", "zero", _sharded)),
    refuse=offloaded_training,
    exact=True,
    memory_only=True,
))  # fmt: skip
