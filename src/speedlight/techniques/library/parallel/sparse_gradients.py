"""Chosen gradients with their indices: top-k, and DeMo's largest frequencies."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, replicated
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register
from ._compressed import gradient_bits, unsharded


def _top(subject: Subject, settings: Settings) -> Scenario:
    own = gradient_bits(subject)
    share = settings["density"] * (own + settings["index"]) / own
    return with_wire(subject, "gradients", share=share, collective="all_gather", passes=4.0, kept=1.0)


def _frequencies(subject: Subject, settings: Settings) -> Scenario:
    own = gradient_bits(subject)
    share = settings["kept"] / settings["chunk"] * (own + settings["index"]) / own
    return with_wire(subject, "gradients", share=share, collective="all_gather", passes=6.0)


TOP_K = register(Technique(
    name="top-k-gradients",
    title="Top-k sparse gradients with error feedback",
    family="parallel",
    mechanism="the largest share of gradients travels with its indices; every rank gathers all ranks' choices, so bytes grow with the ranks",
    papers=("l-greco",),
    citation="Aji and Heafield, arXiv 1704.05021; Lin et al., arXiv 1712.01887",
    parameters=(
        Parameter("density", 0.01, "share of elements sent", low=1e-6, high=1.0, trials=(0.001,)),
        Parameter("index", 32.0, "bits of an index", "bit", low=0),
    ),
    edits=(Edit("placement", "wire:gradients", _top),),
    refuse=every(replicated, unsharded),
))  # fmt: skip

DEMO = register(Technique(
    name="decoupled-momentum",
    title="DeMo: fast frequencies of the momentum",
    family="parallel",
    mechanism="each replica keeps its own momentum and sends the largest frequencies of each chunk of it; every rank gathers all ranks' choices",
    papers=("demo",),
    citation="Peng et al., arXiv 2411.19870",
    parameters=(
        Parameter("kept", 8.0, "frequencies sent of a chunk", low=1, trials=(1.0, 32.0)),
        Parameter("chunk", 4096.0, "elements of a chunk (64 × 64)", low=1),
        Parameter("index", 16.0, "bits of an index", "bit", low=0),
    ),
    edits=(Edit("placement", "wire:gradients", _frequencies),),
    refuse=every(replicated, unsharded),
))  # fmt: skip
