"""Drafts by the model's own heads or modules, in the pass that verifies."""

from __future__ import annotations

import dataclasses

from ...._foundation.errors import SpeedlightError
from ....frontends.source import load_graph
from ....scenario.scenario import Scenario
from ...conditions import every
from ...edits import with_rewrite
from ...speculation import SLOT, drafts, kept, speculates, verified, with_drafts
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from .speculative import draft_of


def _medusa(subject: Subject, settings: Settings) -> Scenario:
    """A tree of candidates is verified at once; the heads run at its positions."""
    with_heads = Subject(with_rewrite(subject, "draft_heads", heads=settings["heads"]))
    return verified(with_heads, settings["tree"] + 1, settings["tokens"])


MEDUSA = register(Technique(
    name="medusa-heads",
    title="Medusa heads with tree verification",
    family="decoding",
    mechanism="extra heads on the last hidden state draft the next tokens' candidates, a tree of which is verified in the next pass",
    citation="Medusa, arXiv 2401.10774",
    parameters=(
        Parameter("heads", 4, "heads: tokens ahead", low=1, high=16),
        Parameter("tree", 63, "candidates of the tree", "token", low=1, high=512),
        Parameter("tokens", 2.5, "tokens kept of a pass", low=1.0, trials=(3.0,)),
    ),
    edits=(Edit("schedule", SLOT, _medusa),),
    refuse=every(speculates),
))  # fmt: skip


def _eagle(subject: Subject, settings: Settings) -> Scenario:
    """One layer and the model's own head, step after step over a chain of features."""
    one = draft_of(subject, "", 1e-6)
    k = settings["drafts"]
    return with_drafts(subject, [(one, k)], settings["tree"] + 1, settings["tokens"])


EAGLE = register(Technique(
    name="eagle",
    title="EAGLE: a one-layer draft over features, tree verification",
    family="decoding",
    mechanism="one decoder layer extrapolates the last hidden state and drafts through the model's own head; a tree of drafts is verified in one pass",
    citation="EAGLE, arXiv 2401.15077; EAGLE-2, arXiv 2406.16858",
    parameters=(
        drafts(5),
        Parameter("tree", 25, "candidates of the tree", "token", low=1, high=512),
        Parameter("tokens", 3.5, "tokens kept of a pass", low=1.0, trials=(2.5,)),
    ),
    edits=(Edit("schedule", SLOT, _eagle),),
    refuse=every(speculates),
    exact=True,
))  # fmt: skip


def _has_modules(subject: Subject, settings: Settings) -> Refusal | None:
    ref = subject.model
    try:
        load_graph(ref.source, ref.inputs, ref.dtype, models_dir=ref.models_dir, mtp=1)
    except SpeedlightError:
        return Refusal("the model has no multi-token prediction modules", "medusa-heads or eagle, which add some")
    return None


def _modules(subject: Subject, settings: Settings) -> Scenario:
    k = settings["drafts"]
    drafting = Subject(subject.scenario.with_program(model=dataclasses.replace(subject.model, mtp=k)))
    return verified(drafting, k + 1, kept(settings["acceptance"], k))


MTP = register(Technique(
    name="multi-token-prediction",
    title="The model's own multi-token prediction modules",
    family="decoding",
    mechanism="modules trained with the model draft the next tokens in the pass that verifies the last ones",
    citation="DeepSeek-V3, arXiv 2412.19437 §2.2 and §5.4.3",
    parameters=(
        drafts(1, 2),
        Parameter("acceptance", 0.85, "share of drafts accepted where all before were", low=0.0, high=0.999,
                  source="DeepSeek-V3, arXiv 2412.19437 §5.4.3: 85 to 90 %"),
    ),
    edits=(Edit("schedule", SLOT, _modules),),
    refuse=every(speculates, _has_modules),
    exact=True,
))  # fmt: skip
