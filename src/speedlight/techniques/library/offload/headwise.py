"""HeadInfer: of each layer's keys and values one head on the device, the next one on its way."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import kv_outside, with_place
from ...subject import Subject
from ...technique import Edit, Settings, Technique, register


def _heads(subject: Subject, settings: Settings) -> Scenario:
    heads = [d.size for d in subject.graph.dims.values() if d.role == "kv_heads"] or [1]
    return with_place(subject, Place("kv", "host", slices=float(heads[0])))


HEADWISE = register(Technique(
    name="headwise-kv-offload",
    title="Head-wise KV offload (HeadInfer)",
    family="offload",
    mechanism="keys and values lie in host memory; one head's slice of one layer is on the device while the next one comes",
    papers=("headinfer",),
    citation="HeadInfer, arXiv 2502.12574",
    edits=(Edit("workload", "places.kv", _heads),),
    refuse=kv_outside,
    exact=True,
    memory_only=True,
))  # fmt: skip
