"""Weights left out by a pattern that kernels can use: two of four, whole blocks, or any, with what says where they are."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has, inference, structured_sparsity
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register

_LINEAR = has("matmul", "moe", "conv", what="linear layers or convolutions")

TWO_OF_FOUR = register(Technique(
    name="sparsity-2-4",
    title="2:4 structured sparsity",
    family="sparsity",
    mechanism="two of every four weights are zero and left out; what is kept says its places in 2 bits, and matrix units skip the other half of the products",
    papers=("boost-vision-transformer-with-gpu-friendly-sparsity-and-quan",),
    citation="Mishra et al., Accelerating sparse deep neural networks, arXiv 2104.08378; GPUSQ-ViT",
    edits=(Edit("graph", "weights.pattern", lambda subject, settings: with_rewrite(subject, "two_of_four")),),
    refuse=every(inference, _LINEAR, structured_sparsity),
))  # fmt: skip


def _anywhere(subject: Subject, settings: Settings) -> Scenario:
    density = 1 - float(settings["sparsity"])
    places = 1.0 if settings["places"] == "bitmap" else density * (16 if settings["places"] == "index16" else 32)
    return with_rewrite(subject, "packed_weights", density=density, places=places)


UNSTRUCTURED = register(Technique(
    name="unstructured-sparsity",
    title="Unstructured sparsity: load as sparse, compute as dense (Flash-LLM, SpInfer)",
    family="sparsity",
    mechanism="zero weights are not kept or read, their places are, as a bitmap or as indices; tiles are filled up on the chip, so all products are done",
    citation="SparseGPT, arXiv 2301.00774; Flash-LLM, arXiv 2309.10285",
    parameters=(
        Parameter("sparsity", 0.6, "share of the weights that are zero", low=0.0, high=0.99, trials=(0.8,), neutral=0.0),
        Parameter("places", "bitmap", "how places are told: a bit a weight, or an index of 16 or 32 bits for each that is kept", choices=("bitmap", "index16", "csr")),
    ),
    edits=(Edit("graph", "weights.pattern", _anywhere),),
    refuse=every(inference, has("matmul", "moe", what="linear layers")),
))  # fmt: skip

BLOCKS = register(Technique(
    name="block-sparsity",
    title="Block sparsity",
    family="sparsity",
    mechanism="whole tiles of weights are left out: bytes and products fall with the share that is kept",
    citation="Gray et al., GPU kernels for block-sparse weights (2017)",
    parameters=(Parameter("kept", 0.5, "share of the blocks that stay", low=0.01, high=1.0, neutral=1.0),),
    edits=(Edit("graph", "weights.blocks", lambda subject, settings: with_rewrite(subject, "kept_blocks", share=float(settings["kept"]))),),
    refuse=every(inference, _LINEAR),
))  # fmt: skip
