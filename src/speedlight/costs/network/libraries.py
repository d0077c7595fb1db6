"""What a collective library can do: its algorithms, and the protocols they run under.

NCCL's (and RCCL's, its sibling's) figures are those of its own tuning model (NVIDIA/nccl src/graph/tuning.cc, version 2.7: the
arrays ``baseLat`` and ``hwLat`` and the refinements of ``busBw``), by which the library chooses: LL sends 4 bytes of flag with 4 of
data and waits least, LL128 8 with 120, Simple fills links but fences every step. There a message's latency is stated for NVLink, PCI
and network of that model; here each is a multiple of the domain's own latency, taken at 2, 4 and 5 µs, so that a slower link waits
longer. Other libraries are taken to have every algorithm and to lose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...hardware.machine import Domain, Machine
from .algorithms import ALGORITHMS, DIRECT, PAIR, RING, SWITCH, TREE, Algorithm


@dataclass(frozen=True, slots=True)
class Protocol:
    """How an algorithm's messages are sent.

    Attributes:
        share: part of a link's rate that payload reaches, by sort of link (:func:`sort_of`).
        waits: a message's latency over the domain's, by sort of link.
        start: seconds before the first message.
    """

    name: str
    share: Mapping[str, float]
    waits: Mapping[str, float]
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Library:
    """Algorithms with their protocols; ``only`` names those of a collective where not all that can are used."""

    name: str
    ways: tuple[tuple[Algorithm, Protocol], ...]
    only: Mapping[str, tuple[str, ...]]


def sort_of(domain: Domain) -> str:
    """``net`` between boxes, ``bus`` on a host's PCIe, ``up`` on links between devices."""
    if domain.role == "scale_out":
        return "net"
    return "bus" if domain.topology in ("tree", "shared") else "up"


def _each(up: float, bus: float, net: float) -> dict[str, float]:
    return {"up": up, "bus": bus, "net": net}


PLAIN = Protocol("plain", _each(1.0, 1.0, 1.0), _each(1.0, 1.0, 1.0))

# What rings reach of a link in Simple: of NVLink 235 of 300 GB/s (tuning.cc's cap for A100); of a bus shared at its root 0.6 and of
# a network 0.93 (packets' headers), both assumed.
REACH = _each(0.78, 0.6, 0.93)


def _scaled(factor: float) -> dict[str, float]:
    return {sort: factor * reach for sort, reach in REACH.items()}


RING_LL = Protocol("LL", _scaled(0.25), _each(0.47 / 2, 1.0 / 4, 2.7 / 5), 3.6e-6)
RING_LL128 = Protocol("LL128", _scaled(0.92), _each(1.9 / 2, 2.5 / 4, 4.0 / 5), 10e-6)
RING_SIMPLE = Protocol("Simple", REACH, _each(3.4 / 2, 5.7 / 4, 9.6 / 5), 8.4e-6)
TREE_LL = Protocol("LL", _scaled(0.9 / 3.8), _each(0.52 / 2, 1.0 / 4, 5.0 / 5), 4.4e-6)
TREE_LL128 = Protocol("LL128", _scaled(0.9 * 0.915), _each(1.2 / 2, 1.9 / 4, 8.5 / 5), 4.4e-6)
TREE_SIMPLE = Protocol("Simple", _scaled(0.9), _each(28 / 2, 28 / 4, 50 / 5), 0.0)
# Multicast stores reach fewer bytes/s than plain ones: nvlsEfficiency of later versions of tuning.cc is 0.85 on Hopper, 0.74 on
# Blackwell.
SWITCH_SIMPLE = Protocol("Simple", _each(0.8, 0.6, 0.9), _each(2.0, 2.0, 2.0), 20e-6)

NCCL = Library(
    "nccl",
    (
        (RING, RING_LL), (RING, RING_LL128), (RING, RING_SIMPLE),
        (TREE, TREE_LL), (TREE, TREE_LL128), (TREE, TREE_SIMPLE),
        (SWITCH, SWITCH_SIMPLE), (DIRECT, RING_LL), (DIRECT, RING_SIMPLE), (PAIR, RING_LL), (PAIR, RING_SIMPLE),
    ),
    dict.fromkeys(("all_reduce", "all_gather", "reduce_scatter", "broadcast"), ("ring", "tree", "switch")),
)  # fmt: skip
ANY = Library("any", tuple((algorithm, PLAIN) for algorithm in ALGORITHMS), {})


def library_of(machine: Machine, named: bool) -> Library:
    """The library that runs a message: NCCL or RCCL on GPUs of NVIDIA and AMD.

    Args:
        machine: whose devices talk.
        named: whether the stack names measured libraries at all; an ideal one may take any algorithm at the links' rate.
    """
    return NCCL if named and machine.kind == "gpu" and machine.architecture not in OTHERS else ANY


OTHERS = ("Xe-HPC", "Xe2")  # Intel's GPUs talk through oneCCL
