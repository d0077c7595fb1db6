"""Partial sums of tensor parallelism in few bits."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, inference, tensor_parallel
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _pack(subject: Subject, settings: Settings) -> Scenario:
    share = (settings["bits"] + 16.0 / settings["block"]) / 16.0
    return with_wire(subject, "tensor", share=share, passes=2.0 + 2.0 * share)


QUANTIZED_SUMS = register(Technique(
    name="quantized-tensor-messages",
    title="Partial sums of tensor parallelism in few bits",
    family="parallel",
    mechanism="partial sums are packed to 8 or 4 bits and a scale a block before they travel; packing reads and writes them once more",
    papers=("iso", "8-bit-approximations-for-parallelism-in-deep-learning"),
    citation="Flash Communication, arXiv 2412.04964",
    parameters=(
        Parameter("bits", 8.0, "bits of an element", "bit", low=1, high=16, trials=(4.0,)),
        Parameter("block", 128.0, "elements that share a scale", low=1),
    ),
    edits=(Edit("placement", "wire:tensor", _pack),),
    refuse=every(inference, tensor_parallel),
))  # fmt: skip
