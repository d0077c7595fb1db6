"""Keys and values of beginnings that several requests share are kept and found again."""

from __future__ import annotations

from ...conditions import every, generates, with_load
from ...edits import with_rules
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _shares(subject: Subject, settings: Settings) -> Refusal | None:
    load = subject.serving.load
    if load.shared or load.turns > 1 or load.arrivals:
        return None
    return Refusal("no two requests of the load begin alike", "a load with --prefix TOKENS:GROUPS or --turns")


PREFIX_CACHING = register(Technique(
    name="prefix-caching",
    title="Prefix sharing (BatchLLM, RadixAttention, automatic prefix caching)",
    family="serving",
    mechanism="a prompt's beginning that the cache holds is neither computed nor stored again: less prefill and more room for sequences; what decoding reads stays",
    papers=("batchllm",),
    citation="BatchLLM, arXiv 2412.03594; SGLang, arXiv 2312.07104",
    edits=(Edit("serving", "serving.caching", lambda subject, settings: with_rules(subject, prefix_caching=True)),),
    refuse=every(with_load, generates, _shares),
    exact=True,
))  # fmt: skip
