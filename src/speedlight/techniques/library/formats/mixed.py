"""Part of each layer in few bits, the rest, where the outliers are, in more."""

from __future__ import annotations

from typing import Any

from ....scenario.scenario import Scenario
from ...conditions import every, generates, has, inference, multiplies, weights_wider_than
from ...edits import with_model, with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register

_LINEAR = has("matmul", "moe", what="linear layers")
_SHARE: dict[str, Any] = {"low": 0.01, "high": 1.0}


def _four_and_eight(subject: Subject, settings: Settings) -> Scenario:
    share = float(settings["share"])
    return with_rewrite(
        subject, "numbers", weights="int4", activations="int4", share=share, rest="int8", rest_activations="int8"
    )  # fmt: skip


MIXED_4_8 = register(Technique(
    name="mixed-4-8",
    title="4-bit products where they do no harm, 8-bit elsewhere (FlattenQuant)",
    family="formats",
    mechanism="a share of every linear layer's inner dimension is kept and multiplied in INT4, the rest in INT8; nothing in 16 bits",
    papers=("flattenquant",),
    citation="FlattenQuant, arXiv 2402.17985",
    parameters=(Parameter("share", 0.4829, "of the linear layers' calculation in 4 bits", source="FlattenQuant, abstract", trials=(0.9,), **_SHARE),),
    edits=(Edit("graph", "weights", _four_and_eight),),
    refuse=every(inference, _LINEAR, weights_wider_than("8"), multiplies("int8")),
    quality=(Quote("accuracy at 48.29 % of the calculation in 4 bits", "negligible loss", "FlattenQuant, abstract"),),
))  # fmt: skip

W4A4KV4 = register(Technique(
    name="w4a4kv4",
    title="4-bit weights, activations and KV cache (QuaRot, COMET)",
    family="formats",
    mechanism="most channels of weights and activations are multiplied in INT4, outlier channels in INT8 by the same kernel; cached keys and values take 4 bits",
    papers=("comet", "quartdepth"),
    citation="COMET, W4A4KV4 serving; QuaRot, arXiv 2404.00456",
    parameters=(Parameter("share", 0.84, "of the channels in 4 bits", trials=(1.0,), **_SHARE),),
    edits=(
        Edit("graph", "weights", _four_and_eight),
        Edit("graph", "kv", lambda subject, settings: with_model(subject, kv="int4")),
    ),
    refuse=every(inference, generates, _LINEAR, weights_wider_than("4.2"), multiplies("int4")),
))  # fmt: skip


def _outliers(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(
        subject, "numbers", weights="int8", activations="int8", share=1 - float(settings["outliers"]), rest="fp16",
        rest_activations="fp16",
    )  # fmt: skip


LLM_INT8 = register(Technique(
    name="llm-int8",
    title="LLM.int8(): 8-bit products with outlier features in 16 bits",
    family="formats",
    mechanism="inputs are quantised row by row and multiplied in INT8; the few feature dimensions with outliers are multiplied in 16 bits beside them",
    papers=("llm-int8",),
    citation="LLM.int8(), arXiv 2208.07339",
    parameters=(Parameter("outliers", 0.001, "share of the feature dimensions in 16 bits", low=0.0001, high=0.5, source="abstract: 99.9 % of the values in 8 bits"),),
    edits=(Edit("graph", "weights", _outliers),),
    refuse=every(inference, _LINEAR, weights_wider_than("8"), multiplies("int8")),
    quality=(Quote("accuracy of models up to 175 B", "no degradation", "LLM.int8(), abstract"),),
))  # fmt: skip
