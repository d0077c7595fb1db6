"""Tokens of experts: fewer leave their rank, or they travel beside computation."""

from __future__ import annotations

import numpy as np

from ....scenario.scenario import Scenario
from ...conditions import every, experts_apart
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

_UNITS = Parameter("units", 0.1, "share of the compute units that messages hold", low=0.0, high=0.5)


def _stays(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "experts", stays=settings["stays"])


def _coherent(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "experts", stays=settings["stays"], share=0.5)


def _pieces(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "experts", beside="product", parts=settings["parts"], units=settings["units"])


def _halves(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "experts", beside="half", units=settings["units"])


def _shortcut(subject: Subject, settings: Settings) -> Scenario:
    return with_wire(subject, "experts", beside="block", units=settings["units"])


def _more(subject: Subject, settings: Settings) -> Refusal | None:
    even = 1.0 / np.asarray(subject.parallel.ep)
    if np.all(np.asarray(settings["stays"]) >= even - 1e-12):
        return None
    return Refusal(
        f"of picks spread evenly {float(np.max(even)):.3g} stay, more than {settings['stays']}",
        "a larger share that stays",
    )


AFFINITY = register(Technique(
    name="expert-affinity",
    title="Expert placement by affinity and load (MoETuner)",
    family="parallel",
    mechanism="experts that follow one another in use lie on one rank, so that more tokens find their next expert where they are",
    papers=("moetuner", "exploiting-inter-layer-expert-affinity-for-accelerating-mixt"),
    citation="MoETuner, arXiv 2502.06643; Yao et al., ExFlow, arXiv 2401.08383",
    parameters=(Parameter("stays", 0.4, "share of (token, expert) pairs that meet on the token's rank", low=0.0, high=1.0, trials=(0.6,)),),
    edits=(Edit("placement", "wire:experts", _stays),),
    refuse=every(experts_apart, _more),
    exact=True,
))  # fmt: skip

COHERENT = register(Technique(
    name="context-coherent-experts",
    title="ExFlow: context on every rank, one all-to-all a layer",
    family="parallel",
    mechanism="every rank keeps all tokens' context, so that a token goes straight from one layer's experts to the next one's: one all-to-all a layer for two, and by affinity fewer tokens in it",
    papers=("exploiting-inter-layer-expert-affinity-for-accelerating-mixt",),
    citation="Yao et al., ExFlow, arXiv 2401.08383",
    parameters=(Parameter("stays", 0.4, "share of (token, expert) pairs that meet on the token's rank", low=0.0, high=1.0, trials=(0.6,)),),
    edits=(Edit("placement", "wire:experts", _coherent),),
    refuse=every(experts_apart, _more),
    exact=True,
))  # fmt: skip

PIPELINED = register(Technique(
    name="pipelined-experts",
    title="Tokens of experts in pieces (Tutel)",
    family="parallel",
    mechanism="tokens of a layer are cut into pieces, each dispatched while the one before is computed and the one before that returns",
    papers=("tutel",),
    citation="Hwang et al., Tutel, arXiv 2206.03382 §3.3",
    parameters=(Parameter("parts", 4.0, "pieces", low=1, trials=(2.0, 8.0)), _UNITS),
    edits=(Edit("placement", "wire:experts:when", _pieces),),
    refuse=experts_apart,
    exact=True,
))  # fmt: skip

TWO_BATCHES = register(Technique(
    name="two-batch-overlap",
    title="Two half batches take turns with experts' messages (DeepSeek-V3)",
    family="parallel",
    mechanism="one half batch computes attention and experts while the other's tokens travel",
    citation="DeepSeek-V3, arXiv 2412.19437 §3.4.2",
    parameters=(_UNITS,),
    edits=(Edit("placement", "wire:experts:when", _halves),),
    refuse=experts_apart,
    exact=True,
))  # fmt: skip

SHORTCUT = register(Technique(
    name="shortcut-experts",
    title="Shortcut-connected experts (ScMoE)",
    family="parallel",
    mechanism="experts are fed from the layer before, so that their messages wait for nothing in the layer beside which they travel",
    papers=("shortcut-connected-expert-parallelism-for-accelerating-mixtu",),
    citation="Cai et al., arXiv 2404.05019",
    parameters=(_UNITS,),
    edits=(Edit("placement", "wire:experts:when", _shortcut),),
    refuse=experts_apart,
))  # fmt: skip
