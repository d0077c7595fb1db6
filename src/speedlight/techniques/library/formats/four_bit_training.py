"""Training with products in 4-bit block formats."""

from __future__ import annotations

from ....scenario.scenario import Rewrite, Scenario
from ...conditions import every, multiplies, training, transformer
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _four_bits(subject: Subject, settings: Settings) -> Scenario:
    rewrites = subject.model.rewrites
    if settings["hadamard"] > 1:
        rewrites = (*rewrites, Rewrite("rotated", (("size", int(settings["hadamard"])),)))
    return with_model(subject, weights=settings["format"], activations=settings["format"], rewrites=rewrites)


FP4_TRAINING = register(Technique(
    name="fp4-training",
    title="FP4 training with Hadamard rotations",
    family="formats",
    mechanism="linear layers read 4-bit copies of their weights in blocks with a shared scale, rotate and quantise their inputs and multiply in 4 bits; gradients and master weights stay as they are",
    papers=("elucidating-the-design-space-of-fp4-training",),
    citation="Elucidating the design space of FP4 training",
    parameters=(
        Parameter("format", "nvfp4", "the block format", choices=("nvfp4", "mxfp4")),
        Parameter("hadamard", 16, "elements of a rotation; 1 for none", choices=(1, 16, 32, 64, 128)),
    ),
    edits=(Edit("graph", "weights", _four_bits), Edit("graph", "activations", lambda subject, settings: subject.scenario)),
    refuse=every(training, transformer, multiplies("{format}")),
    quality=(Quote("best trade of quality and overhead among thousands of combinations", "Hadamard rotations, tensor scaling, stochastic rounding", "Elucidating the design space of FP4 training, abstract"),),
))  # fmt: skip
