"""Requests of many fine-tunes in one batch, over one base model."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, generates, inference
from ...edits import with_engines, with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _gathered(subject: Subject, settings: Settings) -> Scenario:
    rank = settings["rank"]
    if subject.scenario.serving is None:
        return with_rewrite(subject, "lora", rank=rank, tenants=settings["tenants"])
    return with_engines(subject, adapter_rank=rank)


def _asked_for(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.scenario.serving is not None and not subject.serving.load.adapters:
        return Refusal("the load asks for no adapters", "a load with --adapters N")
    if any(r.name == "lora" for r in subject.model.rewrites):
        return Refusal("the model has adapters already")
    return None


MULTI_LORA = register(Technique(
    name="multi-lora-batching",
    title="Batched low-rank adapters of many tenants (Punica, S-LoRA)",
    family="serving",
    mechanism="tokens of different adapters share the base model's products, whose weights are read once; a gathered kernel pair adds each one's thin products",
    papers=("punica",),
    citation="Chen et al., Punica, arXiv 2310.18547",
    parameters=(
        Parameter("rank", 16, "rank of the adapters", low=1, high=1024, source="Punica, arXiv 2310.18547: rank 16"),
        Parameter("tenants", 8, "distinct adapters among a step's sequences", low=1),
    ),
    edits=(Edit("graph", "graph.adapters", _gathered),),
    refuse=every(inference, generates, _asked_for),
    exact=True,
    whatif=False,
))  # fmt: skip
