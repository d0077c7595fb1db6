"""What runs when, span by span: the record behind ``--timeline``. Plain data; :mod:`speedlight.report.chrome` writes it.

A *track* is one thing that does one thing at a time: a stream of a device, a host thread, one direction of a link. Spans of a
track never overlap. The *critical* spans form a chain: each starts when the one before it ends, and their seconds add up to the
step's. The first starts at 0 and the last ends with the step, except where ranks of a pipeline end one after another: there the
chain is the rank that works longest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Track:
    """One line of the picture: ``name`` (compute, host, link …) of a ``group`` (a device, a rank, a class of ranks)."""

    group: str
    name: str


@dataclass(frozen=True, slots=True)
class Span:
    """Something that runs from ``start`` to ``end`` seconds on track number ``track``.

    Attributes:
        kind: what sort of thing it is (an op's kind, forward, backward, weight, send, issue, wait).
        critical: whether the step would end earlier if this ended earlier, and nothing else changed.
        facts: what a reader may want to know of it.
    """

    track: int
    name: str
    start: float
    end: float
    kind: str
    critical: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flow:
    """Span number ``source`` hands something to span number ``target``."""

    name: str
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A step, drawn.

    Attributes:
        time: seconds of the step.
        notes: what the picture leaves out.
    """

    time: float
    tracks: tuple[Track, ...]
    spans: tuple[Span, ...]
    flows: tuple[Flow, ...] = ()
    notes: tuple[str, ...] = ()
