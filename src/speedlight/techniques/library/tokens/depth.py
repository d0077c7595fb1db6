"""Layers skipped: for all tokens, by each token, or behind an exit."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, inference, transformer
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register
from .layers import layered


def _skip(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "keep_layers", share=settings["keep"]) if settings["keep"] < 1 else subject.scenario


LAYER_SKIPPING = register(Technique(
    name="layer-skipping",
    title="A fixed set of layers skipped for every token (unified layer skipping)",
    family="tokens",
    mechanism="evenly spaced middle layers are left out for all tokens alike, so batches and caches stay aligned; their weights are neither read nor multiplied",
    papers=("accelerating-inference-in-large-language-models-with-a-unifi",),
    citation="Unified layer skipping, arXiv 2404.06954",
    parameters=(Parameter("keep", 0.75, "share of the layers that run", low=0.05, high=1.0, trials=(0.5,), neutral=1.0),),
    edits=(Edit("graph", "depth", _skip),),
    refuse=every(inference, layered),
))  # fmt: skip


def _exit(subject: Subject, settings: Settings) -> Scenario:
    behind = 1 - settings["leave"]
    first = round(settings["at"] * 8)
    shares = (1.0,) * first + (behind,) * (8 - first)
    return with_rewrite(subject, "leaving_tokens", shares=shares)


EARLY_EXIT = register(Technique(
    name="early-exit",
    title="Early exit: easy tokens or images leave before the last layers",
    family="tokens",
    mechanism="a share of the tokens is answered by a classifier inside the stack; layers behind it run for the rest, and not at all where nobody is left",
    citation="CALM, arXiv 2207.07061; BranchyNet, arXiv 1709.01686",
    parameters=(
        Parameter("leave", 0.5, "share of the tokens that leaves at the exit", low=0.0, high=1.0, trials=(0.8,), neutral=0.0),
        Parameter("at", 0.5, "share of the layers before the exit", low=0.125, high=0.875),
    ),
    edits=(Edit("graph", "tokens", _exit),),
    refuse=every(inference, layered),
))  # fmt: skip


def _pass(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "passing_tokens", share=settings["capacity"], layers=settings["layers"], of="layer")


MIXTURE_OF_DEPTHS = register(Technique(
    name="mixture-of-depths",
    title="Mixture of depths: routed layers take a share of the tokens",
    family="tokens",
    mechanism="in some layers a router lets a fixed share of the tokens through, the others pass by and leave no keys there",
    citation="Mixture-of-Depths, arXiv 2404.02258",
    parameters=(
        Parameter("capacity", 0.125, "share of the tokens that a routed layer takes", low=0.01, high=1.0, trials=(0.5,), neutral=1.0),
        Parameter("layers", 0.5, "share of the layers that are routed", low=0.0, high=1.0),
    ),
    edits=(Edit("graph", "tokens", _pass),),
    refuse=every(transformer, layered),
))  # fmt: skip


def _route(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(
        subject, "passing_tokens", share=settings["capacity"], layers=settings["layers"], of="attention"
    )


ROUTER_TUNING = register(Technique(
    name="router-tuning",
    title="Attention with dynamic depths (Router-Tuning, MindSkip)",
    family="tokens",
    mechanism="trained routers let a share of the tokens into the attention of some layers; the rest passes by, without FLOPs or keys there",
    papers=("router-tuning",),
    citation="Router-Tuning, arXiv 2410.13184",
    parameters=(
        Parameter("capacity", 0.5, "share of the tokens that a routed attention takes", low=0.01, high=1.0, trials=(0.25,), neutral=1.0),
        Parameter("layers", 0.5, "share of the layers with a router", low=0.0, high=1.0),
    ),
    edits=(Edit("graph", "tokens", _route),),
    refuse=every(inference, transformer, layered),
    quality=(Quote("average accuracy at 21 % more speed", "a drop of 0.2 %", "Router-Tuning, arXiv 2410.13184, abstract"),),
))  # fmt: skip
