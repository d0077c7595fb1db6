"""Pipeline parallelism: layers over devices, micro-batches through them."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...conditions import every, runs
from ...edits import with_training
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from ._trade import traded


def _divide(subject: Subject, settings: Settings) -> Scenario:
    changed = traded(subject, "pp", settings["degree"])
    if subject.phase == "train" and subject.training.micro_batch is None:
        return with_training(dataclasses.replace(subject, scenario=changed), micro_batch=1)
    return changed


def _alone(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.sharded("pp"):
        return Refusal("its layers are divided already", "another --pp")
    if len(subject.graph.blocks) < 2 or not subject.transformer:
        return Refusal("the model has no layers that follow one another alike")
    return None


PIPELINE = register(Technique(
    name="pipeline-parallel",
    title="Pipeline parallelism",
    family="parallel",
    mechanism="each device holds some of the layers and hands activations of one micro-batch after the other on; fill and drain are waited for",
    papers=("efficient-large-scale-language-model-training-on-gpu-cluster", "gnnpipe", "prima-cpp", "swarm-parallelism"),
    citation="Huang et al., arXiv 1811.06965; Narayanan et al., arXiv 2104.04473",
    parameters=(Parameter("degree", 2, "stages", low=2, trials=(4, 8)),),
    edits=(Edit("placement", "pp", _divide),),
    refuse=every(_alone, runs(_divide)),
    exact=True,
))  # fmt: skip
