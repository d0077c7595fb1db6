"""What one rank's share of each nested set of links carries: rate, latency, and what lies on the way.

=============== ========================================================================================
topology        a rank's rate between the sets a domain joins
=============== ========================================================================================
switch, tree    its port's
full-mesh       its links to the peers it talks to: (sets met) / (all others) of its bandwidth
fat-tree        leaf: its port's; spine: the port's over the oversubscription, the busiest uplink's (routing)
ring, torus     two links in every dimension it has peers in; half of that where its group is part of a ring,
                which the links' other ends do not close (a line)
mesh            as the torus, but no dimension closes
shared          the medium's, which all that are in reach share; half-duplex media carry both directions in turn
=============== ========================================================================================

A lossy link sends again what it lost, and is there ``availability`` of the time, on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..._foundation.arrays import Value, floor, maximum, minimum, where
from ...hardware.machine import Domain
from .footprint import Share, Spans, shares
from .routing import pressure

CLOSED = ("ring", "torus")
GRIDS = ("ring", "torus", "mesh")


@dataclass(frozen=True, slots=True)
class Level:
    """The links between the sets of one domain, as one rank of a group sees them.

    Attributes:
        share: where the group's ranks stand.
        rate: bytes/s per direction and rank when every device sends.
        best: bytes/s that a rank could get at most, if no other group sent.
        latency: seconds of one message.
        spread: sets of the domain that the group stands in.
        chain: dependent messages once around them.
        detour: how many times its share of a link a byte to a rank drawn at random takes, over one to a neighbour.
        across: links in a row to the farthest rank.
        whole: 1 where the group has the whole of a grid, so that no way round its middle is left.
    """

    share: Share
    rate: Value
    best: Value
    latency: Value
    spread: Value
    chain: Value
    detour: Value = 1.0
    across: Value = 1.0
    whole: Value = 0.0

    @property
    def name(self) -> str:
        """The resource its busy seconds are booked under."""
        return f"link:{self.share.domain.name}"

    @property
    def inner(self) -> Value:
        """Ranks of the group in each set, which have a port each."""
        return self.share.inner


def levels(
    domains: Sequence[Domain], size: Value, spans: Spans = (), clock: Value = 1.0, alone: bool = False
) -> list[Level]:
    """Every set of links between the ranks of a group, innermost first.

    Args:
        domains: of the machine, innermost first.
        size: ranks.
        spans: (size, stride) of the group's mesh axes.
        clock: of the fabric over its spec sheet's.
        alone: every other device is silent, as in a benchmark: ports that devices share are the group's.
    """
    found: list[Level] = []
    held: Value = 1.0
    for share in shares(domains, size, spans):
        mine = minimum(maximum(held / share.inner, 1.0), share.domain.sharers) if alone else 1.0
        found.append(_level(share, held, clock, mine))
        if share.part != "leaf":
            held = share.domain.size
    return found


def carried(domain: Domain) -> Value:
    """Bytes/s of payload per direction and device, after loss, absence and taking turns."""
    turns = 0.5 if domain.duplex == "half" else 1.0
    return domain.bandwidth * turns * (1.0 - domain.loss) * domain.availability


def _level(share: Share, held: Value, clock: Value, mine: Value) -> Level:
    domain, spread = share.domain, share.spread
    rate = carried(domain) * clock * mine
    latency = domain.latency_s / maximum(1.0 - domain.loss, 1e-9)
    best = carried(domain) * clock * domain.sharers
    if share.part == "spine":
        uplinks = domain.uplinks if domain.uplinks else domain.leaf / domain.oversubscription
        crowded = pressure(domain.routing, domain.leaf, uplinks)
        rate = rate / maximum(domain.oversubscription * crowded, 1.0)
        return Level(share, rate, best, latency, spread, maximum(spread - 1.0, 0.0))
    if domain.topology == "full-mesh":
        others = maximum(domain.size / held - 1.0, 1.0)
        met = minimum(maximum(spread - 1.0, 1.0), others) / others
        return Level(share, rate * met, best * met, latency, spread, maximum(spread - 1.0, 0.0))
    if domain.topology in GRIDS:
        return _grid(share, rate, best, latency)
    return Level(share, rate, best, latency, spread, maximum(spread - 1.0, 0.0))


def _grid(share: Share, rate: Value, best: Value, latency: Value) -> Level:
    """Dimensions work side by side: each carries its part of the payload round its own rings."""
    domain, spread = share.domain, share.spread
    sides = domain.shape or (domain.size,)
    extents = share.extents or (spread,)
    used: Value = 0.0
    chain: Value = 0.0
    across: Value = 0.0
    whole: Value = 1.0
    worst: Value = 0.0
    for side, extent in zip(sides, extents, strict=True):
        closes = where(extent >= side, 1.0, 0.0) if domain.topology in CLOSED else 0.0 * extent
        links = where(extent > 1.0, 0.5 + 0.5 * closes, 0.0)
        used = used + links
        chain = chain + extent - 1.0
        across = across + where(closes > 0.0, floor(extent / 2.0), extent - 1.0)
        whole = whole * where(extent >= side, 1.0, 0.0)
        # Of n·S/n bytes that each rank sends to ranks drawn at random, extent/4 of S cross the busiest cut of a ring per rank.
        worst = maximum(worst, where(extent > 1.0, extent / 4.0, 0.0) / maximum(links, 0.5))
    share_of_links = maximum(used, 0.5) / len(sides)
    others = maximum((spread - 1.0) / spread, 1e-12)
    detour = where(spread > 1.0, maximum(worst * maximum(used, 0.5) / others, 1.0), 1.0)
    return Level(
        share, rate * share_of_links, best * share_of_links, latency, spread, chain, detour, maximum(across, 1.0), whole
    )
