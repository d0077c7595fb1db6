"""The algorithm and protocol of least time, as a library's tuner picks them, and what its links do meanwhile.

Where points differ each takes its own: every way is worked out for all points, and the least of them kept (``where``, never ``if``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum, where
from .levels import Level
from .libraries import Library, sort_of


@dataclass(frozen=True, slots=True)
class Passage:
    """One collective, run by the way that takes least.

    Attributes:
        busy: seconds of a rank's port on every link, by resource.
        latency: seconds of its dependent messages and its start.
        way: index into ``ways`` of what was chosen.
        ways: names of what was there to choose from (``ring/LL128``).
    """

    busy: Mapping[str, Value]
    latency: Value
    way: Value
    ways: tuple[str, ...]

    @property
    def taken(self) -> str:
        """The ways that some point takes, by name."""
        numbers = np.unique(self.way).tolist() if isinstance(self.way, np.ndarray) else [self.way]
        return " or ".join(self.ways[int(number)] for number in numbers) if self.ways else ""

    @property
    def time(self) -> Value:
        """Links of different levels work side by side, on different pieces."""
        longest: Value = 0.0
        for seconds in self.busy.values():
            longest = maximum(longest, seconds)
        return longest + self.latency


def choose(collective: str, size: Value, payload: Value, rungs: Sequence[Level], library: Library) -> Passage:
    """The passage of least time.

    Args:
        collective: see :mod:`.algorithms`.
        size: ranks; one rank sends nothing.
        payload: bytes (:class:`...graph.ir.Message`).
        rungs: from :func:`.levels.levels`, for this group.
        library: whose algorithms and protocols.
    """
    many = where(size > 1.0, 1.0, 0.0)
    found: list[Passage] = []
    names: list[str] = []
    only = library.only.get(collective)
    leaves = _leaves(rungs)
    for algorithm, protocol in library.ways:
        if collective not in algorithm.collectives or (only and algorithm.name not in only):
            continue
        applies = algorithm.applies(rungs) * (_in_order(rungs) if protocol.flags else 1.0)
        if not _somewhere(applies):
            continue
        busy: dict[str, Value] = {}
        latency: Value = many * protocol.start
        amounts = algorithm.amounts(rungs, size, payload, collective)
        messages = algorithm.messages(rungs, size, collective)
        left = protocol.corrected(payload)
        for level, amount, steps in zip(rungs, amounts, messages, strict=True):
            domain = level.share.domain
            seconds = amount / (level.rate * (protocol.share[sort_of(domain)] * left))
            busy[level.name] = busy[level.name] + seconds if level.name in busy else seconds
            latency = latency + steps * protocol.wait(domain, level.latency, leaves)
        barred = where(applies > 0.0, 0.0, float("inf"))
        found.append(Passage(busy, latency + barred, 0, ()))
        names.append(f"{algorithm.name}/{protocol.name}")
    return _least(found, tuple(names), many)


def _leaves(rungs: Sequence[Level]) -> Value:
    """1 where the group leaves a box."""
    found: Value = 0.0
    for level in rungs:
        if level.share.domain.role == "scale_out":
            found = maximum(found, where(level.spread > 1.0, 1.0, 0.0))
    return found


def _in_order(rungs: Sequence[Level]) -> Value:
    """1 where no link that the group passes lets messages overtake one another."""
    found: Value = 1.0
    for level in rungs:
        if not level.share.domain.ordered:
            found = found * where(level.spread > 1.0, 0.0, 1.0)
    return found


def _somewhere(applies: Value) -> bool:
    return bool(applies.any()) if hasattr(applies, "any") else bool(applies)


def _least(found: Sequence[Passage], names: tuple[str, ...], many: Value) -> Passage:
    if not found:
        return Passage({}, 0.0, 0, names)
    best, shortest = found[0], found[0].time
    busy, latency = dict(best.busy), best.latency
    way: Value = 0
    for number, other in enumerate(found[1:], 1):
        time = other.time
        better = time < shortest
        shortest = minimum(time, shortest)
        way = where(better, number, way)
        latency = where(better, other.latency, latency)
        busy = {name: where(better, other.busy[name], seconds) for name, seconds in busy.items()}
    return Passage({name: many * seconds for name, seconds in busy.items()}, many * latency, way, names)


def least(
    collective: str, size: Value, payload: Value, rungs: Sequence[Level], copies: Value = 1.0
) -> dict[str, Value]:
    """The least seconds of every link, by any algorithm: what a set of ranks must send to the others over all of its ports.

    A set of m ranks that stands among f of them sends at least S·(f − 1)/f of an all_gather, twice that of an all_reduce (S where
    switches may add up), S·(ranks outside)/n to each of which is all_to_all's, over m ports; a port further out may help.

    Args:
        copies: rows of an all_to_all that are the same one (:class:`...graph.ir.Message`): a set of ranks takes each once, and of k
            copies drawn at random at least one meets a set of m among n ranks with probability 1 − (1 − m/n)^k. (Experts of a
            token are distinct, which only makes it more.)
    """
    found: dict[str, Value] = {}
    further: Value = 0.0
    for level in reversed(rungs):
        rate = level.best + further
        seconds = where(size > 1.0, _must_send(collective, size, payload, level, copies), 0.0) / rate
        found[level.name] = maximum(found[level.name], seconds) if level.name in found else seconds
        if level.share.part != "leaf":  # a spine's port is the leaf's
            further = rate
    return found


def _must_send(collective: str, size: Value, payload: Value, level: Level, copies: Value = 1.0) -> Value:
    share = (level.spread - 1.0) / level.spread
    if collective == "all_to_all":
        met = 1.0 - (1.0 - minimum(level.inner / size, 1.0)) ** copies
        sent = (level.share.inside / level.inner - 1.0) * met * payload / copies
        return sent * where(level.whole > 0.0, level.detour, 1.0)  # the middle cut of a whole grid
    if collective in ("send_recv", "broadcast"):
        own = where(level.spread > 1.0, payload, 0.0)
        return own if collective == "send_recv" else own / level.inner
    if collective == "all_reduce":
        most = 2.0 * share * payload / level.inner
        domain = level.share.domain
        adds = domain.reduces or domain.topology in ("switch", "fat-tree")
        return minimum(most, where(level.spread > 1.0, payload / level.inner, 0.0)) if adds else most
    return share * payload / level.inner
