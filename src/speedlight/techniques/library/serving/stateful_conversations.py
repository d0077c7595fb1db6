"""A conversation's keys and values stay between its turns."""

from __future__ import annotations

from ...conditions import every, generates, with_load
from ...edits import with_rules
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _talks(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.serving.load.turns > 1:
        return None
    return Refusal("the load's requests are no conversations", "a load with --turns above 1")


STATEFUL_CONVERSATIONS = register(Technique(
    name="stateful-conversations",
    title="Stateful serving of conversations (Pensieve)",
    family="serving",
    mechanism="keys and values of earlier turns stay in memory, so that a turn prefills its own tokens only; what no longer fits is computed again",
    papers=("stateful-large-language-model-serving-with-pensieve",),
    citation="Yu et al., Pensieve, arXiv 2312.05516",
    edits=(Edit("serving", "serving.caching", lambda subject, settings: with_rules(subject, prefix_caching=True)),),
    refuse=every(with_load, generates, _talks),
    exact=True,
))  # fmt: skip
