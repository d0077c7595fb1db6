"""TernGrad: gradients in three levels."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, replicated
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register
from ._compressed import gradient_bits, narrower


def _pack(subject: Subject, settings: Settings) -> Scenario:
    own = gradient_bits(subject)
    return with_wire(subject, "gradients", share=settings["bits"] / own, passes=2.0 + 2.0 * settings["bits"] / own)


def _narrow(subject: Subject, settings: Settings) -> Refusal | None:
    return narrower(settings["bits"], subject)


TERNARY = register(Technique(
    name="ternary-gradients",
    title="TernGrad",
    family="parallel",
    mechanism="each gradient travels as −1, 0 or 1 times its layer's scale: 2 bits as packed, 1.58 at the entropy of three levels",
    papers=("terngrad",),
    citation="Wen et al., arXiv 1705.07878",
    parameters=(Parameter("bits", 2.0, "bits of an element as packed", "bit", low=1.58, high=2.0),),
    edits=(Edit("placement", "wire:gradients", _pack),),
    refuse=every(replicated, _narrow),
    quality=(
        Quote("accuracy of AlexNet", "no loss, at times better", "TernGrad, abstract"),
        Quote("accuracy of GoogLeNet", "less than 2 % lost on average", "TernGrad, abstract"),
    ),
))  # fmt: skip
