"""Layers wired so that tensor-parallel messages need not be waited for."""

from __future__ import annotations

from typing import Any

from ....scenario.scenario import Scenario, Wire
from ...conditions import every, transformer
from ...edits import with_parallel
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register


def _divided(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.sharded("tp"):
        return None
    return Refusal("no tensor parallelism, so no partial sums travel", "ask with --tp above 1")


def _travel(subject: Subject, **how: Any) -> Scenario:
    """Partial sums of tensor parallelism travel so."""
    others = tuple(w for w in subject.parallel.wires if w.carries != "tensor")
    return with_parallel(subject, wires=(*others, Wire("tensor", **how)))


LADDER = register(Technique(
    name="ladder-residual",
    title="Residuals rerouted so that a layer starts before the last all-reduce is done (Ladder-residual)",
    family="architecture",
    mechanism="each half layer takes the input of the one before it, so the all-reduce of the last half travels while the next one computes",
    papers=("ladder-residual",),
    citation="Ladder-residual, arXiv 2501.06589",
    parameters=(Parameter("units", 0.0, "share of the compute units that hidden messages hold", low=0.0, high=0.9, trials=(0.1,)),),
    edits=(Edit("placement", "wire.tensor", lambda subject, settings: _travel(subject, beside="block", units=settings["units"])),),
    refuse=every(transformer, _divided),
    quality=(Quote("1B and 3B models trained from scratch", "comparable to standard ones", "Ladder-residual, abstract"),),
))  # fmt: skip


KRAKEN = register(Technique(
    name="parallel-sublayers",
    title="Layers of parallel sub-layers, one a device (Kraken)",
    family="architecture",
    mechanism="a layer is as many smaller ones side by side as there are devices; their results are added up once a layer, while the next layer's attention, with its projections, computes",
    papers=("kraken",),
    citation="Kraken, arXiv 2408.07802",
    edits=(Edit("placement", "wire.tensor", lambda subject, settings: _travel(subject, beside="block", share=0.5)),),
    refuse=every(transformer, _divided),
))  # fmt: skip
