"""1-bit Adam: momentum in one bit with error feedback after a warm-up of whole gradients."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, replicated
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from ._compressed import gradient_bits, unsharded


def _pack(subject: Subject, settings: Settings) -> Scenario:
    own, warm = gradient_bits(subject), settings["warmup"]
    # A run is two phases; messages have no other work in either, so that their mean bytes are the run's.
    share = warm + (1.0 - warm) / own
    return with_wire(subject, "gradients", share=share, passes=(1.0 - warm) * 6.0, kept=1.0)


def _adam(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.training.optimizer in ("adam", "adamw"):
        return None
    return Refusal(f"the optimizer is {subject.training.optimizer}", "--optimizer adam")


ONE_BIT_ADAM = register(Technique(
    name="one-bit-adam",
    title="1-bit Adam",
    family="parallel",
    mechanism="after a warm-up the variance is frozen and momentum travels in one bit; what the bit loses is kept and sent with the next step",
    papers=("1-bit-adam",),
    citation="Tang et al., arXiv 2102.02888",
    parameters=(
        Parameter("warmup", 0.15, "share of the steps in whole precision", low=0.0, high=1.0, trials=(0.0,), neutral=None),
    ),
    edits=(Edit("placement", "wire:gradients", _pack),),
    refuse=every(replicated, unsharded, _adam),
))  # fmt: skip
