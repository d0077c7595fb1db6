"""Weights as codes: into a learned table, of three values, of varying length. Widened inside the product's kernel or before it."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, generates, has, inference, weights_wider_than
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register
from .weight_only import with_weights

_LINEAR = has("matmul", "moe", what="linear layers")


def _table(subject: Subject, settings: Settings) -> Scenario:
    # A row's table of 2^bits values of 16 bits, over about 4096 weights of a row; scale and zero point of 16 bits each per group.
    bits = int(settings["bits"])
    return with_weights(subject, f"int{bits}~{bits + 32 / settings['group'] + 2**bits * 16 / 4096:.10g}")


ANY4 = register(Technique(
    name="lut-weights",
    title="Weights as codes into a learned table (any4, LUT-GEMM, SqueezeLLM)",
    family="formats",
    mechanism="weights are 2- to 4-bit codes into a table of 16-bit values for each row, with a scale for each group; the kernel looks them up on the way",
    papers=("any4",),
    citation="any4, learned 4-bit numeric representation; LUT-GEMM, arXiv 2206.09557",
    parameters=(
        Parameter("bits", 4, "bits of a code", "bit", choices=(2, 3, 4), trials=(3,)),
        Parameter("group", 128, "weights that share a scale", low=16, high=65536),
    ),
    edits=(Edit("graph", "weights", _table),),
    refuse=every(inference, _LINEAR, weights_wider_than("bits")),
    quality=(Quote("calibration samples any4 needs", "1", "any4, abstract"),),
))  # fmt: skip

TERNARY = register(Technique(
    name="ternary-weights",
    title="Ternary weights (BitNet b1.58, matmul-free language models)",
    family="formats",
    mechanism="weights are −1, 0 or 1, four to a byte; products become sums, which today's matrix units do in INT8",
    citation="BitNet b1.58, arXiv 2402.17764; matmul-free LM, arXiv 2406.02528",
    parameters=(Parameter("packing", "ternary", "four weights to a byte, or five (ternary_base3)", choices=("ternary", "ternary_base3")),),
    edits=(Edit("graph", "weights", lambda subject, settings: with_weights(subject, settings["packing"], "int8")),),
    refuse=every(inference, _LINEAR, weights_wider_than("4")),
))  # fmt: skip

NF4 = register(Technique(
    name="nf4",
    title="4-bit NormalFloat weights (QLoRA's storage)",
    family="formats",
    mechanism="weights are 4-bit codes of a normal distribution's quantiles in blocks of 64, their scales quantised once more",
    citation="QLoRA, arXiv 2305.14314",
    parameters=(Parameter("double", True, "scales in 8 bits too"),),
    edits=(Edit("graph", "weights", lambda subject, settings: with_weights(subject, "nf4_double" if settings["double"] else "nf4")),),
    refuse=every(inference, _LINEAR, weights_wider_than("4.5")),
))  # fmt: skip

UNPACK = 12.0  # shifts, masks, two or three look-ups and a prefix sum's share for each decoded weight; assumed


def _lossless(subject: Subject, settings: Settings) -> Scenario:
    unpack = UNPACK if settings["unpack"] == "before" else 0.0
    return with_rewrite(subject, "packed_weights", bits=float(settings["bits"]), every=True, unpack=unpack)


LOSSLESS = register(Technique(
    name="lossless-weights",
    title="Entropy-coded weights, bit for bit the same (DFloat11)",
    family="formats",
    mechanism="exponents of 16-bit weights carry under 3 bits of information: they are kept as codes of varying length and decoded, a block at a time, into a buffer the products read",
    papers=("70-size-100-accuracy",),
    citation="DFloat11, arXiv 2504.11651",
    parameters=(
        Parameter("bits", 11.0, "bits of a weight", "bit", low=8.0, high=16.0, source="title: 70 % of the size"),
        Parameter("unpack", "before", "decoded before the products, or inside them", choices=("before", "inside"), trials=("inside",)),
    ),
    edits=(Edit("graph", "weights", _lossless),),
    refuse=every(inference, generates, weights_wider_than("11")),
    exact=True,
    quality=(Quote("outputs", "identical bit for bit", "DFloat11, abstract"),),
))  # fmt: skip
