"""Seconds of a training step's pipeline, its bubble, the sends left bare and what is in flight: closed forms and longest paths.

A pipeline is a list of *stage classes* in the model's order: so many stages alike, with seconds of one micro-batch forward and
backward. Usually three: first (embedding), middle × (pp·v − 2), last (head and loss); counts may be arrays and 0, so that
pp ∈ {1, 2, 4, 8} is one call, and any uneven cut is a longer list.

How they are found: :mod:`.solve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value
from .._foundation.errors import BadInput
from .families import FAMILIES, check, in_flight, parse
from .passes import Floats
from .solve import Layouts, seconds


@dataclass(frozen=True, slots=True)
class StageClass:
    """Stages alike, one after another. Every field broadcasts.

    Attributes:
        count: how many; a stage is one chunk of a rank's layers, 1/v of them with v virtual stages.
        forward: seconds of one micro-batch's forward pass through one stage.
        backward: seconds of its backward pass, recomputation included, without ``weight``.
        weight: the part of the backward pass that takes gradients of weights, which zero-bubble schedules put off; in the
            others it follows ``backward`` at once.
        shared: seconds of one micro-batch's work that every rank does a share of between the last stage's forward and backward
            pass, messages included: vocabulary layers dealt to all ranks (``vocabulary`` alone).
    """

    count: Value
    forward: Value
    backward: Value
    weight: Value = 0.0
    shared: Value = 0.0


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """A pipeline's forward and backward passes of one step; ``time`` = ``busy`` + ``bubble`` + ``exposed_send``.

    Attributes:
        time: seconds from the first pass to the last (of the rank that works longest, where a schedule does not flush).
        busy: seconds the busiest rank computes.
        bubble: seconds that rank waits although messages took no time: fill, drain, and uneven stages.
        exposed_send: seconds that messages add.
        in_flight: of each stage class, micro-batches whose activations the rank of its first stage holds at its worst
            moment, counted in whole ranks of layers.
    """

    time: Value
    busy: Value
    bubble: Value
    exposed_send: Value
    in_flight: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """A question to :func:`pipeline_step`, kept so that it can be drawn later; fields are its arguments."""

    classes: tuple[StageClass, ...]
    micro_batches: Value
    schedule: str = "1f1b"
    virtual: Value | None = None
    send_s: Value = 0.0
    blocking: bool = False

    def step(self) -> PipelineStep:
        return pipeline_step(
            self.classes, self.micro_batches, self.schedule, virtual=self.virtual, send_s=self.send_s,
            blocking=self.blocking,
        )  # fmt: skip


def pipeline_step(
    classes: Sequence[StageClass],
    micro_batches: Value,
    schedule: str = "1f1b",
    *,
    virtual: Value | None = None,
    send_s: Value = 0.0,
    blocking: bool = False,
) -> PipelineStep:
    """Seconds of one step's passes through a pipeline.

    Args:
        classes: stages in the model's order; their counts add up to ranks × virtual.
        micro_batches: of one pipeline in one step (global batch / (dp × micro-batch size)).
        schedule: ``gpipe``, ``1f1b``, ``interleaved:v``, ``zb-h1``, ``zb-h2``, ``chimera`` (:mod:`.families`).
        virtual: stages a rank, in place of the schedule's own number; may be an array.
        send_s: seconds to hand one micro-batch's activations (or their gradients) to the next rank.
        blocking: ranks do nothing while they send; by default a message runs beside the next pass.

    Returns:
        every number of the broadcast shape of all arguments; floats where no argument is an array.

    Raises:
        BadInput: counts that are no multiple of ``virtual``, or sizes the schedule cannot run.
        UnknownName: of a schedule that does not exist.
    """
    name, layouts, shape = layouts_of(classes, micro_batches, schedule, virtual, send_s)
    busy, bare, time = seconds(name, layouts, blocking)
    ranks, rank_of = layouts.ranks, FAMILIES[name].rank_of
    firsts = [rank_of(start, ranks) for start in np.cumsum(layouts.counts, axis=0) - layouts.counts]
    # a class of no stage may start beyond the last rank
    held = [in_flight(name, ranks, layouts.micro_batches, layouts.virtual, np.minimum(r, ranks - 1)) for r in firsts]

    def shaped(values: Floats) -> Value:
        return values.reshape(shape) if shape else float(values[0])

    return PipelineStep(shaped(time), shaped(busy), shaped(bare - busy), shaped(time - bare), tuple(map(shaped, held)))


def layouts_of(
    classes: Sequence[StageClass], micro_batches: Value, schedule: str, virtual: Value | None, send_s: Value
) -> tuple[str, Layouts, tuple[int, ...]]:
    """(name of the family, pipelines side by side, shape of the question), checked; as :func:`pipeline_step` takes them."""
    name, own = parse(schedule)
    given = [x for c in classes for x in (c.count, c.forward, c.backward, c.weight, c.shared)]
    numbers = [micro_batches, own if virtual is None else virtual, send_s, *given]
    spread = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in numbers))
    shape = spread[0].shape
    flat = np.stack([x.ravel() for x in spread])
    layouts = Layouts(*flat[:3], *(flat[i::5] for i in range(3, 8)))
    if not FAMILIES[name].shares and np.any(layouts.shared > 0):
        raise BadInput(f"work shared by all ranks in {name}", expected="the schedule vocabulary")
    if np.any(layouts.counts < 0) or np.any(layouts.counts != np.floor(layouts.counts)):
        raise BadInput("a number of stages is no whole number", expected="counts of 0, 1, 2 …")
    stages = layouts.counts.sum(axis=0)
    if np.any(stages < 1) or np.any(stages % layouts.virtual):
        raise BadInput(
            f"{_some(stages)} stages do not spread over ranks of {_some(layouts.virtual)}",
            expected="counts that add up to ranks × virtual stages",
        )
    check(name, layouts.ranks, layouts.micro_batches, layouts.virtual)
    return name, layouts, shape


def _some(values: Floats) -> str:
    return " ".join(f"{x:g}" for x in np.unique(values)[:4])
