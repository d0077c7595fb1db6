"""Weights and activations in 8 bits, multiplied at the 8-bit rate: integers or floating point."""

from __future__ import annotations

from ...conditions import every, has, inference, multiplies, weights_wider_than
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register
from .weight_only import linear_layers, with_weights

_LINEAR = has("matmul", "moe", what="linear layers")


def _images(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.image or subject.has("conv"):
        return None
    return Refusal("language models keep outliers between layers that 8 bits lose", "w8a8")


def _module(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.graph.attrs.get("kind") == "module":
        return None
    return Refusal("it is a call for modules of PyTorch", "w8a8")


W8A8 = register(Technique(
    name="w8a8",
    title="8-bit weights and activations (SmoothQuant, CrossQuant)",
    family="formats",
    mechanism="linear layers read 8-bit weights, quantise their inputs on the way in and multiply at the INT8 rate",
    papers=("crossquant",),
    citation="SmoothQuant, arXiv 2211.10438; CrossQuant",
    edits=(Edit("graph", "weights", lambda subject, settings: with_weights(subject, "int8", "int8")),),
    refuse=every(inference, _LINEAR, weights_wider_than("8"), multiplies("int8")),
    quality=(Quote("zeroed activations below which INT8 costs LLaMA no accuracy", "1 %", "CrossQuant, abstract"),),
))  # fmt: skip

DYNAMIC = register(Technique(
    name="dynamic-int8",
    title="Dynamic quantisation of linear layers (torch.ao.quantization.quantize_dynamic)",
    family="formats",
    mechanism="linear layers of a module, its head too, hold 8-bit weights and quantise their inputs call by call inside the same kernel; the rest stays as it is",
    citation="PyTorch, Dynamic Quantization tutorial",
    edits=(Edit("graph", "weights", lambda subject, settings: with_rewrite(subject, "numbers", weights="int8", activations="int8", of=linear_layers(subject.graph))),),
    refuse=every(inference, _module, _LINEAR, weights_wider_than("8"), multiplies("int8")),
))  # fmt: skip

INTEGER_ONLY = register(Technique(
    name="integer-only",
    title="Integer-only inference (I-ViT, GPUSQ-ViT)",
    family="formats",
    mechanism="every tensor between kernels takes 8 bits and every product, attention's too, is an INT8 one; kernels rescale what they write, so nothing is quantised in passes of its own",
    papers=("i-vit", "boost-vision-transformer-with-gpu-friendly-sparsity-and-quan"),
    citation="I-ViT, arXiv 2207.01405",
    edits=(Edit("graph", "weights", lambda subject, settings: with_rewrite(
        subject, "numbers", weights="int8", activations="int8", between="int8")),),
    refuse=every(inference, _images, weights_wider_than("8"), multiplies("int8")),
))  # fmt: skip

FP8 = register(Technique(
    name="fp8",
    title="FP8 weights and activations",
    family="formats",
    mechanism="linear layers read 8-bit floating-point weights, quantise their inputs on the way in and multiply at the FP8 rate",
    citation="Micikevicius et al., FP8 formats for deep learning, arXiv 2209.05433",
    edits=(Edit("graph", "weights", lambda subject, settings: with_weights(subject, "fp8", "fp8")),),
    refuse=every(inference, _LINEAR, weights_wider_than("8"), multiplies("fp8")),
))  # fmt: skip

BLOCK_FORMAT = register(Technique(
    name="block-format",
    title="Block floating point with shared scales (MXFP8, MXFP6, MXFP4, NVFP4)",
    family="formats",
    mechanism="weights and activations share a scale in each block of 16 or 32 values, 0.25 or 0.5 bits more a value, and are multiplied at the narrow rate",
    papers=("blockwise-compression-of-transformer-based-models-without-re",),
    citation="OCP Microscaling Formats v1.0; BCT, blockwise compression without retraining",
    parameters=(Parameter("format", "mxfp8", "the block format", choices=("mxfp8", "mxfp6", "mxfp4", "nvfp4"), trials=("nvfp4",)),),
    edits=(Edit("graph", "weights", lambda subject, settings: with_weights(subject, settings["format"], settings["format"])),),
    refuse=every(inference, _LINEAR, weights_wider_than("8.25"), multiplies("{format}")),
))  # fmt: skip
