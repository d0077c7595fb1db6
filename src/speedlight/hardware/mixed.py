"""Unequal boxes in one cluster: what equal shares of a synchronous step wait for.

Where every device gets an equal share, each step ends when the slowest has done its part, and the share has to fit the smallest memory.
So a mixture is priced as its weakest common machine: the slower part's units and launch, of every rate and capacity the least,
of every latency the most. What unequal shares could gain is a question of placement, which finds the parts in
:attr:`.machine.Machine.parts`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import MappingProxyType

from .._foundation.arrays import Value
from .._foundation.errors import BadInput
from .machine import Domain, Engine, Link, Machine, Part, Peak, Tier

_HALF = ("bf16", "fp16", "fp32")


def weakest(parts: Sequence[Part], name: str) -> Machine:
    """The machine that equal shares wait for; ``parts`` keeps the boxes.

    Args:
        parts: boxes and how many of each, at least one.
        name: id of the mixture.

    Raises:
        BadInput: for parts of different kinds (a GPU and a CPU share no step), or boxes of different size (equal shares of a mesh
            need equal boxes).
    """
    boxes = [part.machine for part in parts]
    kinds = sorted({box.kind for box in boxes})
    if len(kinds) > 1:
        raise BadInput(f"the parts are of kinds {', '.join(kinds)}", expected="boxes of one kind of device")
    sizes = sorted({int(box.n_devices) for box in boxes})
    if len(sizes) > 1:
        raise BadInput(f"the boxes hold {', '.join(map(str, sizes))} devices", expected="boxes of one size")
    base = min(boxes, key=_speed)
    facts = dict(base.facts)
    for box in boxes:
        facts.update({path: fact for path, fact in box.facts.items() if path not in facts})
    return dataclasses.replace(
        base,
        id=name,
        engines=(_engine(base.engine, [box.engine for box in boxes]), *base.engines[1:]),
        tiers=tuple(_tier(tier, boxes) for tier in base.tiers if _everywhere(tier.role, boxes)),
        links=tuple(_link(link, boxes) for link in base.links),
        domains=tuple(_domain(number, domain, boxes) for number, domain in enumerate(base.domains)),
        facts=MappingProxyType(facts),
        parts=tuple(parts),
    )


def _speed(box: Machine) -> float:
    """Its main matrix rate."""
    for number_format in _HALF:
        try:
            return float(box.engine.peak("matmul", number_format)[0].flops)
        except BadInput:
            continue
    return 0.0


def _engine(own: Engine, others: Sequence[Engine]) -> Engine:
    """The slower part's units, each rate no more than what any part reaches for it (in a wider format, if it has to)."""
    peaks = tuple(_peak(peak, others) for peak in own.peaks)
    launch = max(other.launch_latency_s for other in others)
    return dataclasses.replace(own, peaks=peaks, launch_latency_s=launch, fill_s=max(other.fill_s for other in others))


def _peak(peak: Peak, engines: Sequence[Engine]) -> Peak:
    found = [engine.peak(peak.unit, peak.format, peak.accumulate)[0] for engine in engines if _has(engine, peak)]
    return dataclasses.replace(peak, flops=min([peak.flops, *(p.flops for p in found)]), sparse_flops=None)


def _has(engine: Engine, peak: Peak) -> bool:
    try:
        engine.peak(peak.unit, peak.format, peak.accumulate)
    except BadInput:
        return False
    return True


def _everywhere(role: str, boxes: Sequence[Machine]) -> bool:
    return all(any(tier.role == role for tier in box.tiers) for box in boxes)


def _tier(tier: Tier, boxes: Sequence[Machine]) -> Tier:
    """The least of the tiers of its role; of several caches the largest counts."""
    like = [max((t for t in box.tiers if t.role == tier.role), key=lambda t: float(t.capacity_bytes)) for box in boxes]
    return dataclasses.replace(
        tier,
        capacity_bytes=_least(tier.capacity_bytes, [t.capacity_bytes for t in like]),
        bandwidth=_least(tier.bandwidth, [t.bandwidth for t in like]),
        latency_s=_most(tier.latency_s, [t.latency_s for t in like]),
    )


def _link(link: Link, boxes: Sequence[Machine]) -> Link:
    like = [other for box in boxes for other in box.links if other.role == link.role]
    return dataclasses.replace(
        link, bandwidth=_least(link.bandwidth, [other.bandwidth for other in like]),
        latency_s=_most(link.latency_s, [other.latency_s for other in like]), ordered=all(other.ordered for other in like),
    )  # fmt: skip


def _domain(number: int, domain: Domain, boxes: Sequence[Machine]) -> Domain:
    like = [box.domains[min(number, len(box.domains) - 1)] for box in boxes if box.domains]
    return dataclasses.replace(
        domain, bandwidth=_least(domain.bandwidth, [other.bandwidth for other in like]),
        latency_s=_most(domain.latency_s, [other.latency_s for other in like]), reduces=all(other.reduces for other in like),
    )  # fmt: skip


def _least(own: Value, others: Sequence[Value]) -> Value:
    return min([own, *others])


def _most(own: Value, others: Sequence[Value]) -> Value:
    return max([own, *others])
