"""Each attention head sees its own shard of the context."""

from __future__ import annotations

from ....scenario.scenario import Rewrite, Scenario
from ...attention_kernels import attends
from ...conditions import every, generates
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _shard(subject: Subject, settings: Settings) -> Scenario:
    keep = 1.0 / settings["shards"]
    if keep == 1.0:
        return subject.scenario
    own = (Rewrite("sparse_attention", (("keep", keep),)), Rewrite("kv_kept", (("share", keep),)))
    return with_model(subject, rewrites=(*subject.model.rewrites, *own))


SHARDING = register(Technique(
    name="head-context-sharding",
    title="Context sharded over attention heads (S2-attention)",
    family="kernels",
    mechanism="a head computes with, keeps and reads one of so many strided shards of the context; all heads together cover it",
    papers=("efficient-llm-training-and-serving-with-heterogeneous-contex",),
    citation="Lin et al., arXiv 2407.17678",
    parameters=(Parameter("shards", 4.0, "shards of the context", low=1.0, high=64.0, neutral=1.0, trials=(8.0,)),),
    edits=(Edit("graph", "attention-pattern", _shard),),
    refuse=every(attends, generates),
    also=("kv-eviction",),
))  # fmt: skip
