"""Keys and values kept in 8 bits or fewer."""

from __future__ import annotations

from ...._foundation.formats import number_format
from ...caches import cached
from ...conditions import every
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register

FORMATS = ("fp8", "int8", "int4", "int2", "mxfp8", "mxfp6", "mxfp4", "nvfp4")


def wider_than(subject: Subject, settings: Settings) -> Refusal | None:
    """The cache takes more bits than the technique would leave."""
    graph = subject.graph
    have = max(
        (number_format(t.dtype).bits for b in graph.blocks for t in b.tensors.values() if t.cls == "kv"), default=0.0
    )
    if have > number_format(settings["format"]).bits:
        return None
    return Refusal(f"keys and values are in {have:g} bits already", "kv-eviction, kv-page-selection")


KV_FORMAT = register(Technique(
    name="kv-quantization",
    title="KV cache in fewer bits (FP8, KIVI, block formats)",
    family="kv",
    mechanism="cached keys and values are kept and read in a narrower format, scales included; attention computes in the activations' format",
    papers=("accurate-block-quantization-in-llms-with-outliers",),
    citation="KIVI, arXiv 2402.02750; KVQuant, arXiv 2401.18079; block floating point with reordered channels, arXiv 2403.20137",
    parameters=(
        Parameter("format", "fp8", "format of cached keys and values", choices=FORMATS, trials=("int4", "int2")),
    ),
    edits=(Edit("graph", "kv", lambda subject, settings: with_model(subject, kv=settings["format"])),),
    refuse=every(cached, wider_than),
    quality=(
        Quote("block formats with reordered channels", "2x memory saving without significant accuracy degradation",
              "Accurate Block Quantization in LLMs with Outliers, abstract"),
    ),
))  # fmt: skip
