"""Attention as code wrote it before fused kernels: scores and weights pass through memory."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...attention_kernels import SLOT, attends, written_out
from ...conditions import every
from ...edits import with_rewrite, with_software
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

STEPS = [
    {"fn": "bmm", "out": "scores", "of": ["q", "k"]},
    {"fn": "scale", "out": "scaled", "of": ["scores"]},
    {"fn": "scale", "out": "masked", "of": ["scaled"]},
    {"fn": "softmax", "out": "weights", "of": ["masked"]},
    {"fn": "dropout", "out": "dropped", "of": ["weights"], "train": True},
    {"fn": "bmm", "out": "mixed", "of": ["dropped", "v"]},
    {"fn": "copy", "out": "merged", "of": ["mixed"]},
]


def _write_out(subject: Subject, settings: Settings) -> Scenario:
    if subject.transformer:
        return with_software(subject, {"unfold": [{"fn": "sdpa", "steps": STEPS}]})
    return with_rewrite(subject, "written_out_attention", safe=settings["by"] == "sdpa-math")


def _possible(subject: Subject, settings: Settings) -> Refusal | None:
    if written_out(subject):
        return Refusal(f"{subject.stack.name} writes attention out already")
    sizes = {n: subject.graph.dims[n].size for n in ("heads", "kv_heads") if n in subject.graph.dims}
    if len(set(sizes.values())) > 1:
        return Refusal("query heads share keys: how code repeats them is not known", "a model with as many key heads")
    if subject.decoding:
        return Refusal("a step on cached keys writes out one row of scores a head, which is little", "--phase prefill")
    return None


WRITTEN_OUT = register(Technique(
    name="written-out-attention",
    title="Attention as products and a softmax, call by call",
    family="kernels",
    mechanism="scores are written, scaled, masked, normalised and read again, each through memory: the baseline of fused attention",
    papers=(),
    parameters=(
        Parameter(
            "by", "code", "who writes it out: a model's own code, or PyTorch's fallback, which looks for rows masked from end to end",
            choices=("code", "sdpa-math"), source="torch/aten _scaled_dot_product_attention_math, _safe_softmax",
        ),
    ),
    citation="Vaswani et al., arXiv 1706.03762, §3.2.1, as eager code computes it",
    edits=(Edit("stack", SLOT, _write_out),),
    refuse=every(attends, _possible),
    exact=True,
    whatif=False,
))  # fmt: skip
