"""Salient tokens' keys and values in more bits than the others'."""

from __future__ import annotations

from ....scenario.scenario import Rewrite, Scenario
from ...caches import decompressed
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _mixed(subject: Subject, settings: Settings) -> Scenario:
    """The average width of a token, its scales included, in the cache's own format."""
    share, high, low = settings["salient"], settings["high"], settings["low"]
    bits = share * high + (1 - share) * low + settings["overhead"]
    narrower = Rewrite("kv_width", (("kept", bits / 16), ("products", 1.0)))
    return with_model(subject, kv="bf16", rewrites=(*subject.model.rewrites, narrower))


MIXED = register(Technique(
    name="kv-mixed-precision",
    title="KV cache in mixed bits by a token's saliency (ZipCache)",
    family="kv",
    mechanism="keys and values of salient tokens are kept in more bits than those of the rest; bytes kept and read are the average's",
    papers=("zipcache", "zipvl"),
    citation="ZipCache, arXiv 2405.14256",
    parameters=(
        Parameter("salient", 0.6, "share of tokens kept in the higher number of bits", low=0.0, high=1.0, trials=(0.2,)),
        Parameter("high", 4.0, "bits of a salient token's values", "bit", low=1, high=8),
        Parameter("low", 2.0, "bits of the others'", "bit", low=1, high=8),
        Parameter("overhead", 0.02, "bits of scales for each value: one a token and one a channel", "bit", low=0, high=2),
    ),
    edits=(Edit("graph", "kv", _mixed),),
    refuse=decompressed,
    quality=(Quote("GSM8k, Mistral-7B at 4.98x", "0.38 % lower accuracy", "ZipCache, abstract"),),
))  # fmt: skip
