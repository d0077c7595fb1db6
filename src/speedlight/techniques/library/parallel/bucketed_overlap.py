"""Gradients in buckets behind the backward pass (PyTorch DDP), or none before it ends."""

from __future__ import annotations

from ....engine.training.laid import OVERLAP
from ....scenario.scenario import Scenario
from ...conditions import every, replicated
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _behind(subject: Subject, settings: Settings) -> Scenario:
    own = tuple(subject.stack.attrs.get("overlap", OVERLAP))
    return with_software(subject, {"attrs": {"overlap": sorted({*own, "gradients"})}})


def _alone(subject: Subject, settings: Settings) -> Scenario:
    own = tuple(subject.stack.attrs.get("overlap", OVERLAP))
    return with_software(subject, {"attrs": {"overlap": sorted({*own} - {"gradients"})}})


def _not_yet(subject: Subject, settings: Settings) -> Refusal | None:
    overlapped = "gradients" in subject.stack.attrs.get("overlap", OVERLAP)
    return Refusal(f"{subject.stack.name} reduces gradients behind the backward pass already") if overlapped else None


def _already(subject: Subject, settings: Settings) -> Refusal | None:
    overlapped = "gradients" in subject.stack.attrs.get("overlap", OVERLAP)
    return None if overlapped else Refusal(f"{subject.stack.name} overlaps no gradients")


BUCKETED = register(Technique(
    name="bucketed-gradients",
    title="Gradient buckets behind the backward pass (PyTorch DDP)",
    family="parallel",
    mechanism="gradients are gathered in buckets, each reduced while the backward pass goes on",
    papers=("pytorch-distributed",),
    citation="Li et al., arXiv 2006.15704",
    edits=(Edit("stack", "stack.overlap", _behind),),
    refuse=every(replicated, _not_yet),
    exact=True,
))  # fmt: skip

UNOVERLAPPED = register(Technique(
    name="unoverlapped-gradients",
    title="Gradients after the backward pass",
    family="parallel",
    mechanism="no gradient travels before the backward pass ends: what naive data parallelism does",
    papers=("pytorch-distributed",),
    citation="Li et al., arXiv 2006.15704 §3.2.1",
    edits=(Edit("stack", "stack.overlap", _alone),),
    refuse=every(replicated, _already),
    exact=True,
    whatif=False,
))  # fmt: skip
