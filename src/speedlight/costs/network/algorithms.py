"""Algorithms of collectives over nested sets of links: bytes of a rank's port on every level, and dependent messages.

Legend: n ranks, S bytes of the whole payload; on level k a group stands in f sets of m ranks each, so that m ports carry what a
set sends. Bytes a port sends (Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication Operations in MPICH", 2005,
§4; Sanders, Speck, Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan", 2009; Jia et al.,
"Highly Scalable Deep Learning Training System", 2018, §4 for the hierarchy):

============ ===================================== =========================================
algorithm    bytes on level k (all_reduce)         messages
============ ===================================== =========================================
ring         2(n − 1)/n · S · (1/m − 1/m')         2 · (ring's edges on the level)
tree         2S/m (S/m between two sets)           2(f − 1) innermost, 2⌈log2 f⌉ beyond
hierarchical 2(f − 1)/f · S/m                      2(f − 1)
two_shot     2 · (ranks on the level)/n · S        2
one_shot     (ranks on the level) · S              1
switch       (1 + 1/f) · S where switches add up   2, and a tree beyond
pat          as ring, one rank a box               ⌈log2 n⌉ + 0.7 n
once         all_to_all: see :func:`once`          one hop a level
============ ===================================== =========================================

with m' the ranks in one set of the next level (a ring leaves each set once, over all of its ports: libraries run one ring a port).
all_gather and reduce_scatter move half of what all_reduce does and know no tree but parallel aggregated ones (pat); all_to_all is direct; a broadcast goes down a
chain or a tree in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..._foundation.arrays import Value, ceil, log2, maximum, minimum, where
from .levels import Level

Amounts = Sequence[Value]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to run collectives.

    Attributes:
        name: how answers call it.
        collectives: those it can run.
        amounts: (levels, n, S, collective) → bytes through a rank's port on every level.
        messages: (levels, n, collective) → dependent messages on every level.
        applies: (levels) → 1 where it can run, 0 where it cannot.
    """

    name: str
    collectives: tuple[str, ...]
    amounts: Callable[[Sequence[Level], Value, Value, str], Amounts]
    messages: Callable[[Sequence[Level], Value, str], Amounts]
    applies: Callable[[Sequence[Level]], Value] = lambda _: 1.0


def passes(collective: str) -> float:
    """How often the payload goes round: an all_reduce scatters sums, then gathers them."""
    return 2.0 if collective == "all_reduce" else 1.0


def _ring_amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
    """A closed ring: the edge that closes it is on the outermost level the group spans."""
    whole = passes(collective) * (size if collective == "broadcast" else (n - 1.0) / n * size)
    found = []
    for level in rungs:
        beyond = where(level.share.inside < n, 1.0 / level.share.inside, 0.0)
        found.append(where(level.spread > 1.0, whole * (1.0 / level.inner - beyond), 0.0))
    return found


def _ring_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    """The n − 1 edges of a chain; dimensions of a torus go at once, so that fewer of their edges follow one another."""
    found = []
    for level in rungs:
        edges = maximum(n / level.inner - n / level.share.inside, 0.0)
        found.append(passes(collective) * edges * level.chain / maximum(level.spread - 1.0, 1.0))
    return found


def _tree_amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
    both = 1.0 if collective == "broadcast" else 2.0
    return [
        where(level.spread > 1.0, where(level.spread > 2.0, both, 1.0) * size / level.inner, 0.0) for level in rungs
    ]


def _tree_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    both = 1.0 if collective == "broadcast" else 2.0
    deep = [both * ceil(log2(level.spread)) for level in rungs[1:]]
    return [*(both * level.chain for level in rungs[:1]), *deep]  # a lone device has no level at all


def _hierarchical_amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
    return [passes(collective) * (level.spread - 1.0) / level.spread * size / level.inner for level in rungs]


def _hierarchical_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    return [passes(collective) * level.chain for level in rungs]


def _met(level: Level) -> Value:
    """Ranks of the group that are in the same set of this level but in another of the one inside it."""
    return level.share.inside - level.inner


def _direct_amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
    return [passes(collective) * _met(level) / n * size * level.detour for level in rungs]


def _direct_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    """One message to each peer, all at once: the farthest one's latency for each pass."""
    return _farthest(rungs, passes(collective))


def _farthest(rungs: Sequence[Level], times: float) -> Amounts:
    found: list[Value] = []
    beyond: Value = 0.0
    for level in reversed(rungs):
        here = where(level.spread > 1.0, 1.0, 0.0) * (1.0 - beyond)
        found.insert(0, times * here * level.across)
        beyond = maximum(beyond, here)
    return found


def _one_shot_amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
    return [_met(level) * size * level.detour for level in rungs]


def _one_shot_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    return _farthest(rungs, 1.0)


def _pair_amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
    """A message to the next rank of the axis: on the farthest level the axis passes, which some pair of it has to cross."""
    return [crossings / level.across * size for crossings, level in zip(_farthest(rungs, 1.0), rungs, strict=True)]


def _pair_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    """Neighbours of an axis are neighbours of a grid."""
    return [crossings / level.across for crossings, level in zip(_farthest(rungs, 1.0), rungs, strict=True)]


def _switch_amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
    found = []
    for level in rungs:
        added = where(level.spread > 1.0, (1.0 + 1.0 / level.spread) * size / level.inner, 0.0)
        found.append(added if level.share.domain.reduces else _tree_amounts([level], n, size, collective)[0])
    return found


def _switch_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    return [
        where(level.spread > 1.0, 2.0, 0.0) if level.share.domain.reduces else 2.0 * ceil(log2(level.spread)) for level in rungs
    ]  # fmt: skip


def _switch_applies(rungs: Sequence[Level]) -> Value:
    """Where the group spans a switch that adds up, and not a pair alone (nothing is saved)."""
    found: Value = 0.0
    for level in rungs:
        if level.share.domain.reduces:
            found = maximum(found, where(level.spread > 2.0, 1.0, 0.0))
    return found


def _parallel_messages(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    """A tree's depth, and a part that still grows with the ranks (2.8 µs each where a message takes 4: NCCL's tuner)."""
    deep = ceil(log2(maximum(n, 1.0))) + 0.7 * n
    return [steps / level.across * deep for steps, level in zip(_farthest(rungs, 1.0), rungs, strict=True)]


def _parallel_applies(rungs: Sequence[Level]) -> Value:
    """One rank in a box, and more than one box."""
    found: Value = 0.0
    for level in rungs:
        if level.share.domain.role == "scale_out":
            found = maximum(found, where((level.inner <= 1.0) & (level.spread > 1.0), 1.0, 0.0))
    return found


RING = Algorithm("ring", ("all_reduce", "all_gather", "reduce_scatter", "broadcast"), _ring_amounts, _ring_messages)
TREE = Algorithm("tree", ("all_reduce", "broadcast"), _tree_amounts, _tree_messages)
HIERARCHICAL = Algorithm(
    "hierarchical", ("all_reduce", "all_gather", "reduce_scatter"), _hierarchical_amounts, _hierarchical_messages
)  # fmt: skip
DIRECT = Algorithm(
    "direct", ("all_reduce", "all_gather", "reduce_scatter", "all_to_all"), _direct_amounts, _direct_messages
)  # fmt: skip
ONE_SHOT = Algorithm("one_shot", ("all_reduce",), _one_shot_amounts, _one_shot_messages)
SWITCH = Algorithm("switch", ("all_reduce",), _switch_amounts, _switch_messages, _switch_applies)
PARALLEL_TREES = Algorithm(
    "pat", ("all_gather", "reduce_scatter"), _ring_amounts, _parallel_messages, _parallel_applies
)  # fmt: skip
PAIR = Algorithm("pair", ("send_recv",), _pair_amounts, _pair_messages)


def once(copies: Value) -> Algorithm:
    """An all_to_all that sends a row once to every set of ranks that has members wanting it, and on from there.

    Of ``copies`` of a row, each for one of n ranks drawn at random, D(m) = n/m · (1 − (1 − m/n)^copies) sets of m ranks meet at least
    one. On a level where a group stands in sets of m within m′, a row enters at the sender's own place and goes to the sets that
    want it: S/copies · D(m) · (1 − m/m′) (DeepEP's normal mode, csrc/kernels/internode.cu: over the network to the rank of the
    same number, from there over NVLink; HybridEP likewise). A row with one copy that stays in a box is sent as by ``direct``.
    """

    def amounts(rungs: Sequence[Level], n: Value, size: Value, collective: str) -> Amounts:
        found = []
        for level in rungs:
            met = n / level.inner * (1.0 - (1.0 - minimum(level.inner / n, 1.0)) ** copies)
            leaving = maximum(1.0 - level.inner / level.share.inside, 0.0)
            found.append(size / copies * met * leaving * level.detour)
        return found

    return Algorithm("once", ("all_to_all",), amounts, _hops)


def _hops(rungs: Sequence[Level], n: Value, collective: str) -> Amounts:
    """One message on every level the group spans, one after the other."""
    return [where(level.spread > 1.0, level.across, 0.0) for level in rungs]


ALGORITHMS = (RING, TREE, HIERARCHICAL, DIRECT, ONE_SHOT, SWITCH, PAIR)
