"""Messages inside a layer that travel while something computes: what of them shows (DESIGN decision 11).

A layout says of each sort of message what computes meanwhile (:class:`...scenario.scenario.Wire`):

* ``product``: the product that makes it, or the one that takes it, is cut into parts (:func:`...schedule.overlap.chunked`);
* ``half``: two halves of the batch or the sequence take turns (:func:`...schedule.overlap.taking_turns`); the halves' products are
  run as such, so that weights are read twice (:func:`halved`);
* ``attention``: the attention of the same layer, under which keys and values go round;
* ``block``: whatever of the layer does not wait for it: all but what stands between a dispatch and its combine
  (:func:`...schedule.overlap.beside`);
* a *lag*: results are used a step late, so that a message has a whole step's computing to hide in.

What computes is one stream and what travels another; hidden messages' kernels may hold a share of the compute units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ...placement.mesh import CARRIES
from ...scenario.scenario import Parallel, Wire
from ...schedule.overlap import beside, chunked, taking_turns
from ...stacks.stack import Stack
from ...workload.workload import Group, Step
from .rows import some

NO_WIRES: Mapping[str, Wire] = {}
BEFORE = ("all_gather",)  # messages that the product behind them waits for


def overlapping(parallel: Parallel, stack: Stack | None = None) -> Mapping[str, Wire]:
    """Sorts of messages inside layers that travel beside computation, by what they carry.

    Args:
        stack: of inference, where its rule says that keys and values travel under attention (in training the step over all ranks
            sees to that).
    """
    found = {w.carries: w for w in parallel.wires if w.carries in CARRIES.values() and (w.beside or w.lag)}
    ring = parallel.context == "ring" and np.any(np.asarray(parallel.cp) > 1)
    if stack is not None and ring and "context" not in found and "context" in stack.attrs.get("overlap", ("context",)):
        found["context"] = Wire("context", beside="attention")
    return found


def halved(step: Step, wires: Mapping[str, Wire]) -> Step:
    """A step of inference whose halves take turns: two passes of half the tokens each.

    Prompts are cut in two, the second part on top of the first (its mean, which is exact for attention's work); batches of decode
    steps in two half batches. One sequence that decodes cannot be cut.
    """
    if step.name == "train" or all(w.beside != "half" for w in wires.values()):
        return step
    long = all(np.all(np.asarray(g.new) >= 2) for g in step.groups)
    if long and step.name != "decode":
        groups = tuple(Group(g.count, g.new / 2, g.cached + g.new / 4) for g in step.groups)
        return dataclasses.replace(step, groups=groups, repeats=step.repeats * 2)
    many: Value = 0.0
    for g in step.groups:
        many = many + g.count
    times = where(np.asarray(many) >= 2, 2.0, 1.0) if np.ndim(many) else (2.0 if many >= 2 else 1.0)
    groups = tuple(Group(g.count / times, g.new, g.cached) for g in step.groups)
    return dataclasses.replace(step, groups=groups, repeats=step.repeats * times)


class Piece:
    """A kernel of a layer as overlapping sees it: what it is, and its seconds in one instance of the layer.

    Attributes:
        carries: of a message, what; else empty.
        shows: seconds of it that lengthen the layer.
    """

    __slots__ = ("carries", "collective", "kind", "seconds", "shows")

    def __init__(self, kind: str, axis: tuple[str, ...], collective: str, seconds: Value) -> None:
        self.kind, self.collective, self.seconds = kind, collective, seconds
        self.carries = CARRIES.get(axis[0], "") if axis else ""
        self.shows: Value = seconds


def show(pieces: Sequence[Piece], wires: Mapping[str, Wire], turns: Value = 1.0) -> None:
    """Set what shows of a layer's messages.

    Args:
        turns: 1 where nothing is cut in halves, 2 where it is; of training steps, whose kernels stay whole, 2.
    """
    for carries, wire in wires.items():
        if wire.beside == "product":
            _beside_product(pieces, carries, wire)
        elif wire.beside == "half":
            _beside_half(pieces, carries, wire, turns)
        elif wire.beside == "attention":
            _beside_attention(pieces, carries, wire)
        elif wire.beside == "block":
            _beside_block(pieces, carries, wire)


def _beside_product(pieces: Sequence[Piece], carries: str, wire: Wire) -> None:
    left = [p.seconds if p.kind in ("matmul", "moe") else 0.0 for p in pieces]
    for at, piece in enumerate(pieces):
        if piece.carries != carries:
            continue
        ahead = piece.collective in BEFORE or (carries == "experts" and _dispatch(pieces, at))
        order = range(at + 1, len(pieces)) if ahead else range(at - 1, -1, -1)
        mate = next((i for i in order if pieces[i].kind in ("matmul", "moe")), None)
        if mate is None:
            continue
        hidden = left[mate] + piece.seconds - chunked(left[mate], piece.seconds, wire.parts, wire.units)
        hidden = maximum(hidden, 0.0)
        left[mate] = maximum(left[mate] - hidden, 0.0)
        piece.shows = piece.shows - hidden


def _dispatch(pieces: Sequence[Piece], at: int) -> bool:
    """Whether a message of experts goes to them: there are products of experts behind it and none before."""
    return not any(p.kind == "moe" for p in pieces[:at])


def _beside_half(pieces: Sequence[Piece], carries: str, wire: Wire, turns: Value) -> None:
    parts: list[tuple[Value, Value]] = []
    compute: Value = 0.0
    sent: Value = 0.0
    for piece in pieces:
        if piece.carries != carries:
            compute = compute + piece.shows
            continue
        parts.append((compute / 2, piece.seconds / 2))
        sent, compute = sent + piece.seconds, 0.0
    if not parts:
        return
    parts[0] = (
        parts[0][0] + compute / 2,
        parts[0][1],
    )  # what stands behind the last message computes with the next layer
    whole: Value = 0.0
    for a, b in parts:
        whole = whole + 2.0 * (a + b)
    hidden = maximum(whole - taking_turns(parts, wire.units), 0.0) * maximum(turns - 1.0, 0.0)
    _spread(pieces, carries, hidden, sent)


def _beside_attention(pieces: Sequence[Piece], carries: str, wire: Wire) -> None:
    over: Value = 0.0
    sent: Value = 0.0
    for piece in pieces:
        if piece.carries == carries:
            sent = sent + piece.seconds
        elif piece.kind == "attention":
            over = over + piece.seconds
    _spread(pieces, carries, maximum(over + sent - beside(over, sent, wire.units), 0.0), sent)


def _beside_block(pieces: Sequence[Piece], carries: str, wire: Wire) -> None:
    """Messages are a chain with what stands between them; everything else of the layer computes meanwhile."""
    chain: Value = 0.0
    other: Value = 0.0
    sent: Value = 0.0
    for piece in pieces:
        if piece.carries == carries:
            sent = sent + piece.seconds
        elif piece.kind == "moe" and carries == "experts":
            chain = chain + piece.shows
        else:
            other = other + piece.shows
    # Experts compute on the same units: one stream works chain + other, the messages' chain takes sent + chain.
    hidden = maximum(other + sent - beside(other, sent, wire.units), 0.0)
    _spread(pieces, carries, hidden, sent)


def _spread(pieces: Sequence[Piece], carries: str, hidden: Value, sent: Value) -> None:
    for piece in pieces:
        if piece.carries == carries:
            piece.shows = piece.shows - hidden * piece.seconds / some(sent)


def late(blocks: Sequence[tuple[Value, Sequence[Piece]]], wires: Mapping[str, Wire]) -> None:
    """What shows of messages whose results are used a step late: what is longer than all computing of the step.

    Args:
        blocks: instances of a layer in the step, and its pieces.
    """
    stale = {carries: wire for carries, wire in wires.items() if wire.lag and not wire.beside}
    if not stale:
        return
    compute: Value = 0.0
    sent: Value = 0.0
    held: Value = 0.0
    for instances, pieces in blocks:
        for piece in pieces:
            if piece.carries in stale:
                sent = sent + instances * piece.seconds
                held = held + instances * piece.seconds * stale[piece.carries].units
            else:
                compute = compute + instances * piece.shows
    bare = maximum(sent - compute, 0.0) + held
    share = bare / some(sent)
    for _, pieces in blocks:
        for piece in pieces:
            if piece.carries in stale:
                piece.shows = piece.seconds * share
