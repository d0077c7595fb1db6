"""Heads of keys and values merged into fewer."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...caches import by_heads
from ...conditions import every
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _heads(subject: Subject) -> int:
    return max((d.size for d in subject.graph.dims.values() if d.role == "kv_heads"), default=1)


def _more(subject: Subject, settings: Settings) -> Refusal | None:
    have, wanted = _heads(subject), settings.get("heads", 1)
    if have <= wanted:
        return Refusal(f"keys and values have {have} heads already", "kv-low-rank, kv-quantization")
    return None if have % wanted == 0 else Refusal(f"{have} heads cannot be merged into {wanted}", "a divisor of them")


def _merged(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "kv_heads", heads=settings.get("heads", 1))


GROUPED = register(Technique(
    name="gqa-conversion",
    title="Multi-head to grouped-query attention",
    family="kv",
    mechanism="query heads of a group share one head of keys and values: both kept and read bytes fall by the group, projections shrink",
    citation="GQA, arXiv 2305.13245",
    parameters=(Parameter("heads", 4, "heads of keys and values that stay", low=1, trials=(2,)),),
    edits=(Edit("graph", "kv width", _merged),),
    refuse=every(by_heads, _more),
))  # fmt: skip

ONE = register(Technique(
    name="mqa-conversion",
    title="Multi-query attention",
    family="kv",
    mechanism="all query heads share one head of keys and values",
    citation="Fast Transformer Decoding, arXiv 1911.02150; GQA, arXiv 2305.13245",
    edits=(Edit("graph", "kv width", _merged),),
    refuse=every(by_heads, _more),
))  # fmt: skip
