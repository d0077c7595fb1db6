"""Sharded data parallelism: states, gradients and weights over the replicas."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, replicated, runs
from ...edits import with_parallel
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _shard(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, zero=settings["stage"])


def _fully(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, zero=3)


def _hybrid(subject: Subject, settings: Settings) -> Scenario:
    return with_parallel(subject, zero=3, shard=settings["ranks"])


def _already(subject: Subject, settings: Settings) -> Refusal | None:
    stage = settings.get("stage", 3)
    return (
        Refusal(f"ZeRO stage {stage} is what it does")
        if subject.parallel.zero == stage and "ranks" not in settings
        else None
    )


ZERO = register(Technique(
    name="zero",
    title="ZeRO (sharded states, gradients, weights)",
    family="parallel",
    mechanism="each replica keeps a share of the optimizer's states (1), of gradients too (2), of weights too (3), gathered when needed",
    citation="Rajbhandari et al., arXiv 1910.02054",
    parameters=(Parameter("stage", 1, "what is sharded", choices=(1, 2, 3), trials=(2, 3)),),
    edits=(Edit("placement", "zero", _shard),),
    refuse=every(replicated, _already, runs(_shard)),
    exact=True,
))  # fmt: skip

FSDP = register(Technique(
    name="fully-sharded-data-parallel",
    title="Fully sharded data parallelism (PyTorch FSDP)",
    family="parallel",
    mechanism="weights, gradients and states are sharded; each block's weights are gathered one block ahead, its gradients reduced and scattered behind",
    papers=("pytorch-fsdp", "hecate"),
    citation="Zhao et al., arXiv 2304.11277",
    edits=(Edit("placement", "zero", _fully),),
    refuse=every(replicated, _already, runs(_fully)),
    exact=True,
))  # fmt: skip

HYBRID = register(Technique(
    name="hybrid-sharding",
    title="Hybrid sharding (HSDP, MiCS)",
    family="parallel",
    mechanism="shards spread over some ranks only, usually a box's; gradients are reduced once more between the groups",
    papers=("pytorch-fsdp", "scaling-large-language-model-training-on-frontier-with-low-b"),
    citation="Zhao et al., arXiv 2304.11277 §3.2.2; Zhang et al., arXiv 2205.00119",
    parameters=(Parameter("ranks", 8, "ranks a shard spreads over", low=2, trials=(2, 4)),),
    edits=(Edit("placement", "zero", _hybrid), Edit("placement", "shard", lambda subject, settings: subject.scenario)),
    refuse=every(replicated, runs(_hybrid)),
    exact=True,
))  # fmt: skip
