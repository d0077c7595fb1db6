"""What techniques of this family ask of a model: layers whose work is counted in tokens."""

from __future__ import annotations

from typing import Any

from ....graph.rewrite.resized import token_layers
from ...subject import Subject
from ...technique import Refusal


def layered(subject: Subject, settings: Any) -> Refusal | None:
    """The model has repeated layers of tokens."""
    if token_layers(subject.graph):
        return None
    return Refusal(
        "its graph has no repeated layers counted in tokens", "a transformer by its configuration (vit-b-16, llama-3.1-8b)"
    )  # fmt: skip


def falling(last: float, parts: int = 4) -> tuple[float, ...]:
    """Shares that fall evenly from 1 to the last, in so many parts of the stack."""
    return tuple(round(1 - (1 - last) * (i + 1) / parts, 6) for i in range(parts))
