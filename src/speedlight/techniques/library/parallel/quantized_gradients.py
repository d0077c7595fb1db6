"""Gradients in a few bits on the links."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, replicated
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register
from ._compressed import gradient_bits, narrower


def _pack(subject: Subject, settings: Settings) -> Scenario:
    own = gradient_bits(subject)
    bits = settings["bits"] + settings["scale"] / settings["block"]
    # Whole gradients are read and few bits written before, few bits read and whole gradients written after.
    return with_wire(subject, "gradients", share=bits / own, passes=2.0 + 2.0 * bits / own)


def _narrow(subject: Subject, settings: Settings) -> Refusal | None:
    return narrower(settings["bits"], subject)


QUANTIZED = register(Technique(
    name="quantized-gradients",
    title="Gradients in a few bits (8-bit approximations, QSGD)",
    family="parallel",
    mechanism="gradients are packed to a few bits and a scale a block before they are exchanged; packing reads and writes them once more",
    papers=("8-bit-approximations-for-parallelism-in-deep-learning",),
    citation="Dettmers, arXiv 1511.04561; Alistarh et al., arXiv 1610.02132",
    parameters=(
        Parameter("bits", 8.0, "bits of an element", "bit", low=1, high=32, trials=(4.0,)),
        Parameter("block", 2048.0, "elements that share a scale", low=1),
        Parameter("scale", 32.0, "bits of a scale", "bit", low=0),
    ),
    edits=(Edit("placement", "wire:gradients", _pack),),
    refuse=every(replicated, _narrow),
    quality=(Quote("accuracy on MNIST, CIFAR10, ImageNet at 8 bits", "no decrease", "8-Bit Approximations for Parallelism, abstract"),),
))  # fmt: skip
