"""Refusals of techniques that change a KV cache, and the rewrites most of them are."""

from __future__ import annotations

from typing import Any

from ..scenario.scenario import Scenario
from ..workload.places import Place
from .conditions import Condition, _when, every, generates, inference
from .edits import with_rewrite
from .subject import Subject
from .technique import Edit, Settings


def _reads(subject: Subject, *fns: str) -> bool:
    graph = subject.graph
    return any(
        op.kind == "attention" and op.fn in fns and any(graph.tensor(b, r.tensor).cls == "kv" for r in op.reads)
        for b, op in graph.ops()
    )


cached: Condition = every(
    generates, inference,
    _when(lambda s: _reads(s, "sdpa", "mla"), "no layer keeps keys and values", "a model with attention"),
)  # fmt: skip
by_heads: Condition = every(
    cached,
    _when(
        lambda s: not _reads(s, "mla"),
        "its attention is latent already: what it caches has no heads, and is narrower than one head's keys and values",
        "kv-quantization, kv-eviction",
    ),
)
decompressed: Condition = every(
    cached,
    _when(lambda s: not _reads(s, "mla"), "its kernels widen keys and values of heads, not latents", "kv-quantization"),
)
reads_prompts: Condition = _when(
    lambda s: "prompt" not in s.graph.attrs, "its decoder starts from what an encoder read, not from a prompt"
)
seen_whole: Condition = _when(
    lambda s: any(op.kind == "attention" and op.attrs.get("causal") and not op.attrs.get("window") for _, op in s.graph.ops()),
    "every layer sees a window already",
)  # fmt: skip


def rewritten(slot: str, name: str, **fixed: Any) -> Edit:
    """An edit that is one graph rewrite; settings of the technique's are the rewrite's parameters."""

    def change(subject: Subject, settings: Settings) -> Scenario:
        return with_rewrite(subject, name, **{**settings, **fixed})

    return Edit("graph", slot, change)


def on_host(subject: Subject, share: float = 1.0, use: float | None = None, way: str = "moved") -> Scenario:
    """Keys and values (a share of them) in the host's memory; what was said of where they lie before is replaced."""
    others = tuple(p for p in subject.workload.places if p.cls != "kv")
    return subject.scenario.with_workload(places=(*others, Place("kv", "host", share, use, way)))
