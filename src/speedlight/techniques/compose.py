"""Several techniques → one scenario, whatever the order they were named in.

Edits are sorted by stage, then by slot and name; two different techniques that edit one slot conflict, the same one with the
same settings counts once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .._foundation.errors import Unsupported
from .._foundation.provenance import Assumption
from ..engine.answers.prediction import Prediction
from ..engine.predict import predict
from ..graph.grammar import GrammarError
from ..scenario.scenario import Scenario
from ..scenario.scenario import Technique as Use
from .subject import Subject
from .technique import STAGES, Refusal, Technique, find
from .under_load import unheard


class Refused(Unsupported):
    """A technique does not apply to a question, or two exclude each other."""


@dataclasses.dataclass(frozen=True, slots=True)
class Set:
    """A technique with its settings."""

    technique: Technique
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """``name`` or ``name:k=v`` of what differs from the defaults."""
        own = [f"{p.name}={self.settings[p.name]}" for p in self.technique.parameters
               if not _same(self.settings[p.name], p.default)]  # fmt: skip
        return self.technique.name + (":" + ",".join(own) if own else "")

    @property
    def use(self) -> Use:
        return Use(self.technique.name, tuple(self.settings.items()))


def _same(a: Any, b: Any) -> bool:
    return bool(type(a) is type(b) and a == b)


def parsed(label: str) -> Use:
    """``name:k=v,k2=v2`` as a use of a technique."""
    name, _, rest = label.partition(":")
    pairs = [p.partition("=") for p in rest.split(",") if p]
    return Use(name, tuple((key, value) for key, _, value in pairs))


def settled(uses: Sequence[Use]) -> tuple[Set, ...]:
    """Techniques with all their settings, each once, in alphabetical order.

    Raises:
        UnknownName, BadInput: for names and parameters nobody knows.
        Refused: where one is named twice with different settings, or two exclude each other.
    """
    found: dict[str, Set] = {}
    for use in uses:
        technique = find(use.name)
        one = Set(technique, technique.settings(dict(use.parameters)))
        before = found.setdefault(use.name, one)
        if before.label != one.label:
            raise Refused(f"{use.name} is asked for twice, as {before.label} and {one.label}", expected="one of them")
    sets = tuple(found[name] for name in sorted(found))
    for i, one in enumerate(sets):
        for other in sets[i + 1 :]:
            _together(one.technique, other.technique)
    return sets


def _together(one: Technique, other: Technique) -> None:
    shared = sorted({e.slot for e in one.edits} & {e.slot for e in other.edits})
    if shared:
        raise Refused(
            f"{one.name} and {other.name} both change {shared[0]}", expected="one of them",
            hint=f"`speedlight techniques {one.name}` says what it edits",
        )  # fmt: skip
    if other.name in one.also or one.name in other.also:
        raise Refused(f"{one.name} and {other.name} exclude each other", expected="one of them")


def edited(scenario: Scenario, sets: Sequence[Set]) -> Scenario:
    """The scenario after the techniques' edits; each is asked whether it applies when its first turn comes.

    Raises:
        Refused: with the reason and the nearest alternative.
    """
    turns = sorted(
        ((STAGES.index(e.stage), e.slot, s.technique.name, e, s) for s in sets for e in s.technique.edits),
        key=lambda turn: turn[:3],
    )
    asked: set[str] = set()
    subject = Subject(dataclasses.replace(scenario, techniques=()))
    for _, _, name, edit, one in turns:
        if name not in asked:
            asked.add(name)
            refusal = one.technique.refuse(subject, one.settings)
            if refusal is not None:
                raise refused(one, refusal)
        changed = edit.change(subject, one.settings)
        if changed is not subject.scenario:
            subject = Subject(changed)
    return subject.scenario


def refused(one: Set, refusal: Refusal) -> Refused:
    return Refused(
        f"{one.label} does not apply: {refusal.why}", expected="a question it applies to", hint=refusal.instead
    )


def applied(scenario: Scenario) -> Scenario:
    """The scenario with the techniques it names carried out; itself where it names none.

    Raises:
        UnknownName, BadInput, Refused: as :func:`settled` and :func:`edited`; of a load also where it would not see an edit.
    """
    if not scenario.techniques:
        return scenario
    sets = settled(scenario.techniques)
    if scenario.serving is not None:
        _heard(scenario, sets)
    return edited(scenario, sets)


def _heard(scenario: Scenario, sets: Sequence[Set]) -> None:
    """Refuse a technique whose edits a simulated deployment does not read."""
    for one in sets:
        refusal = unheard(scenario, edited(scenario, (one,)))
        if refusal is not None:
            raise Refused(
                f"{one.label} does not apply: {refusal.why}", expected="a question about one call", hint=refusal.instead
            )


def ask(scenario: Scenario, *, details: bool = True, joint: bool = False) -> Prediction:
    """The engine's answer to a scenario, techniques carried out and their settings among the assumptions."""
    if not scenario.techniques:
        return predict(scenario, details=details, joint=joint)
    sets = settled(scenario.techniques)
    answer = predicted(scenario, sets, details=details, joint=joint)
    return dataclasses.replace(answer, assumptions=(*answer.assumptions, *assumed(sets, scenario.techniques)))


def predicted(scenario: Scenario, sets: Sequence[Set], *, details: bool = False, joint: bool = False) -> Prediction:
    """The answer to a scenario with techniques carried out.

    Raises:
        Refused: as :func:`edited`; also where rewrites of several leave no graph that holds together.
    """
    try:
        return predict(edited(scenario, sets), details=details, joint=joint)
    except GrammarError:
        if len(sets) < 2:
            raise  # a technique alone that breaks a graph is wrong
        labels = " and ".join(s.label for s in sets)
        raise Refused(f"{labels} change the same part of the model", expected="fewer of them") from None


def assumed(sets: Sequence[Set], uses: Sequence[Use]) -> tuple[Assumption, ...]:
    """What the techniques' settings rest on: those nobody stated."""
    stated = {(use.name, key) for use in uses for key, _ in use.parameters}
    return tuple(
        Assumption(f"{s.technique.name}: {p.name}", s.settings[p.name], "published" if p.source else "assumed", p.source or "its default")
        for s in sets
        for p in s.technique.parameters
        if (s.technique.name, p.name) not in stated
    )  # fmt: skip
