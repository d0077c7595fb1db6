"""Channels of keys and values quantised together by codebooks."""

from __future__ import annotations

from ....scenario.scenario import Rewrite, Scenario
from ...caches import decompressed
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _coded(subject: Subject, settings: Settings) -> Scenario:
    """``code`` bits for every ``channels`` values; centroids are weights, small beside any cache worth coding."""
    narrower = Rewrite("kv_width", (("kept", settings["code"] / settings["channels"] / 16), ("products", 1.0)))
    return with_model(subject, kv="bf16", rewrites=(*subject.model.rewrites, narrower))


COUPLED = register(Technique(
    name="kv-coupled-quantization",
    title="KV cache of one bit a channel by coupled codebooks",
    family="kv",
    mechanism="groups of channels share one code of a codebook, so a value takes code/channels bits; attention looks centroids up",
    papers=("kv-cache-is-1-bit-per-channel",),
    citation="KV Cache is 1 Bit Per Channel, arXiv 2405.03917",
    parameters=(
        Parameter("channels", 8, "channels of a group", low=1, high=32),
        Parameter("code", 8.0, "bits of a group's code", "bit", low=1, high=16),
    ),
    edits=(Edit("graph", "kv", _coded),),
    refuse=decompressed,
    quality=(Quote("1 bit a channel", "model quality preserved", "KV Cache is 1 Bit Per Channel, abstract"),),
))  # fmt: skip
