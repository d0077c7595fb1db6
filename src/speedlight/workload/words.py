"""Words that people write for how a training step runs → fields of :class:`.workload.Training`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._foundation.errors import BadInput

RECOMPUTE = ("none", "selective", "operators", "full")
OFFLOADED = ("optimizer", "gradients", "weights", "activations", "kv")
TIERS = ("host", "disk")


def schedule_of(text: str | None) -> tuple[str, Any]:
    """``interleaved:4`` → (``interleaved``, 4); 1F1B where none is named, an interleaved one of two stages a rank.

    Raises:
        BadInput: for a number of stages a rank that is no whole number of at least 1.
    """
    name, _, number = (text or "1f1b").strip().lower().partition(":")
    if not number:
        return name, 2 if name in ("interleaved", "zb-v") else 1
    if not number.isdigit() or int(number) < 1:
        raise BadInput(f"the schedule {text!r}", expected="NAME or NAME:v, v stages a rank, like interleaved:4")
    return name, int(number)


def recompute_of(value: Any) -> tuple[str, Any]:
    """``none``, ``selective``, ``operators``, ``full`` or a number of layers of each stage → (kind, layers or None for all).

    Raises:
        BadInput: for anything else.
    """
    text = value.strip().lower() if isinstance(value, str) else None
    if text in RECOMPUTE:
        return text, None
    if text is not None:
        if not text.isdigit():
            raise BadInput(
                f"recomputation {value!r} is not known",
                expected="none, selective, operators, full or a number of layers",
            )
        value = int(text)
    return "full", value


def offload_of(pairs: Iterable[str | tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """``optimizer:host`` … → (class, tier) pairs.

    Raises:
        BadInput: for a class or tier that is not listed, and for a class named twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        cls, _, tier = pair.partition(":") if isinstance(pair, str) else (pair[0], ":", pair[1])
        if cls not in OFFLOADED or tier not in TIERS:
            raise BadInput(
                f"--offload {cls}:{tier}", expected=f"CLASS:TIER of {', '.join(OFFLOADED)} and {', '.join(TIERS)}"
            )
        if cls in found:
            raise BadInput(f"--offload says twice where {cls} goes", expected="one tier for each class")
        found[cls] = tier
    return tuple(found.items())
