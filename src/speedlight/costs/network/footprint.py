"""Where the ranks of a group stand: how many of them share each of the nested domains.

The ranks of a mesh axis of ``size`` ranks stand ``stride`` devices apart (the product of the sizes of the axes inside it), so that
a domain of d devices holds min(size, max(1, ⌊d / stride⌋)) of them: tensor parallel ranks (stride 1) share a box, data parallel
ranks at stride 8 stand one in each box of eight and meet only on the network, where each box's other seven run groups of their
own. A group over several axes holds the product. Mesh axes are assumed to be laid out innermost first, without holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..._foundation.arrays import Value, ceil, floor, maximum, minimum
from ...hardware.machine import Domain

Spans = Sequence[tuple[Value, Value]]


@dataclass(frozen=True, slots=True)
class Share:
    """One nested set of devices as a group meets it.

    Attributes:
        domain: what joins them.
        part: ``""`` where one switch or medium joins all of the domain; ``leaf`` and ``spine`` for its two stages.
        inner: ranks of the group in each of the sets inside it (1 for the innermost).
        inside: ranks of the group in one of it.
        extents: ranks along each dimension of a torus or mesh, innermost first; empty elsewhere.
    """

    domain: Domain
    part: str
    inner: Value
    inside: Value
    extents: tuple[Value, ...] = ()

    @property
    def spread(self) -> Value:
        """How many of the sets inside it the group stands in."""
        return maximum(ceil(self.inside / self.inner), 1.0)


def ranks_within(devices: Value, spans: Spans) -> Value:
    """Ranks of a group among the first ``devices`` devices from one of its own on.

    Args:
        devices: of an aligned set.
        spans: (size, stride) of every mesh axis of the group.
    """
    found: Value = 1.0
    for size, stride in spans:
        found = found * minimum(size, maximum(floor(devices / stride), 1.0))
    return found


def shares(domains: Sequence[Domain], size: Value, spans: Spans) -> list[Share]:
    """The nested sets that a group passes, innermost first; the outermost holds whatever the others do not.

    Args:
        domains: of the machine, innermost first.
        size: ranks of the group.
        spans: (size, stride) of its axes; empty for neighbours.
    """
    spans = spans or ((size, 1.0),)
    found: list[Share] = []
    inner: Value = 1.0
    held: Value = 1.0
    for number, domain in enumerate(domains):
        last = number == len(domains) - 1
        if domain.leaf:
            inside = maximum(ranks_within(domain.leaf, spans), inner)
            found.append(Share(domain, "leaf", inner, inside))
            inner = inside
        inside = maximum(size * 1.0 if last else ranks_within(domain.size, spans), inner)
        extents = _extents(domain, held, spans) if domain.shape else ()
        found.append(Share(domain, "spine" if domain.leaf else "", inner, inside, extents))
        inner, held = inside, domain.size
    return found


def _extents(domain: Domain, held: Value, spans: Spans) -> tuple[Value, ...]:
    """Ranks along each dimension of a torus whose first neighbours are sets of ``held`` devices."""
    found: list[Value] = []
    devices, before = held, ranks_within(held, spans)
    for side in domain.shape:
        devices = devices * side
        here = ranks_within(devices, spans)
        found.append(maximum(here / before, 1.0))
        before = here
    return tuple(found)
