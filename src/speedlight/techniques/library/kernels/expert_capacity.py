"""Experts of a fixed capacity, and without."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has
from ...edits import with_model, with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

CAPACITY = register(Technique(
    name="expert-capacity",
    title="Experts with a capacity factor (padding)",
    family="kernels",
    mechanism="each expert computes so many rows whether they hold a token or not; tokens beyond are dropped",
    papers=(),
    citation="Fedus et al., Switch, arXiv 2101.03961, §2.2; Hwang et al., Tutel, arXiv 2206.03382",
    parameters=(Parameter("factor", 1.25, "rows of an expert over the even share", low=1.0, high=64.0, neutral=1.0),),
    edits=(Edit("graph", "expert-rows", lambda s, settings: with_rewrite(s, "expert_capacity", factor=settings["factor"])),),
    refuse=every(has("moe", what="experts")),
    whatif=False,
))  # fmt: skip


def _unpadded(subject: Subject, settings: Settings) -> Scenario:
    kept = tuple(r for r in subject.model.rewrites if r.name != "expert_capacity")
    return with_model(subject, rewrites=kept)


def _padded(subject: Subject, settings: Settings) -> Refusal | None:
    if any(r.name == "expert_capacity" for r in subject.model.rewrites):
        return None
    return Refusal("its experts compute no padding: grouped products take uneven rows as they come")


DROPLESS = register(Technique(
    name="dropless-experts",
    title="Dropless experts by block-sparse or grouped products (MegaBlocks)",
    family="kernels",
    mechanism="experts' uneven rows are blocks of one sparse product: nothing is padded and no token dropped",
    papers=("megablocks",),
    citation="Gale et al., MegaBlocks, arXiv 2211.15841",
    edits=(Edit("graph", "expert-rows", _unpadded),),
    refuse=every(has("moe", what="experts"), _padded),
))  # fmt: skip
