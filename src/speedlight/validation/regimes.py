"""What binds where: the literature's bottlenecks contradict each other until batch, length and hardware are named.

Every op of an answer is put into one class of work; a regime is the class that takes most of the time at a point. Where papers
say "attention dominates", "it is all weight reads" or "communication is the bottleneck", the map shows for which sizes each
is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..engine.answers.prediction import OpRow
from ..engine.predict import predict
from ..engine.questions.question import make_scenario

# Classes of work, and what papers say of each.
CLASSES: Mapping[str, str] = {
    "weights": "reading weights binds: fewer bits, larger batches, speculation help",
    "products": "linear layers' products bind: faster formats and sparsity help, fewer bytes do not",
    "kv": "reading keys and values binds: fewer KV heads, bits or tokens help",
    "scores": "attention's own products bind: sparse and linear attention help",
    "links": "links bind: compression, overlap, another layout help",
    "launch": "launches and kernel latency bind: graphs and fusion help",
    "passes": "passes over activations bind: fusion helps",
}
_MEMORY = ("hbm", "cache", "sram", "host_dram", "disk")


def class_of(row: OpRow) -> str:
    """The class of work a row of an answer belongs to."""
    if row.kind == "collective" or row.bound.startswith("link:"):
        return "links"
    if row.bound in ("launch", "latency", "host") or row.kind == "gap":
        return "launch"
    if row.kind == "attention":
        return "kv" if row.bound in _MEMORY else "scores"
    if row.kind in ("matmul", "moe", "conv"):
        return "weights" if row.bound in _MEMORY else "products"
    return "passes"


@dataclass(frozen=True, slots=True)
class Point:
    """One question: its size, the class that takes most of its time, and all shares; None where it does not fit."""

    batch: int
    length: int
    most: str | None
    shares: Mapping[str, float]


def regimes(
    model: str, machine: str, phase: str, batches: Sequence[int], lengths: Sequence[int], **options: Any
) -> tuple[Point, ...]:
    """The map of a model on a machine.

    Args:
        phase: ``decode`` (lengths are cached tokens) or ``prefill``, ``train`` (lengths are sequences).
        options: as of :func:`speedlight.engine.questions.question.make_scenario`.
    """
    found = []
    for batch in batches:
        for length in lengths:
            size: dict[str, Any] = {"context": length} if phase == "decode" else {"isl": length}
            answer = predict(make_scenario(model, machine, phase=phase, batch=batch, **size, **options))
            shares: dict[str, float] = {}
            for row in answer.ops:
                name = class_of(row)
                shares[name] = shares.get(name, 0.0) + float(row.time) / float(answer.time)
            most = max(shares, key=lambda k: shares[k]) if answer.fits else None
            found.append(Point(batch, length, most, shares))
    return tuple(found)
