"""What a collective library can do: its algorithms, and the protocols they run under.

NCCL's figures (and RCCL's, its sibling's) are those of its own tuning model, by which the library chooses: NCCL 2.28.3,
src/graph/tuning.cc (``baseLatencies``, ``hwLatencies``, ``llMaxBws``, ``nvlsEfficiency``, ``treeCorrectionFactor`` and the factors on
``busBw`` beside them). LL sends 4 bytes of flag with 4 of data and waits least, LL128 8 with 120, Simple fills links but fences
every step. A message's latency is stated there for NVLink, PCI and an InfiniBand network; a domain whose own latency is longer
than theirs (2, 4 and 5 µs in this catalogue) adds the difference. Other libraries are taken to have every algorithm and to lose
nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, log2, maximum
from ...hardware.machine import Domain, Machine
from .algorithms import ALGORITHMS, DIRECT, PAIR, PARALLEL_TREES, RING, SWITCH, TREE, Algorithm, once

# Latency of a domain that the tuning model's figures already hold, by sort of link.
REFERENCE = {"up": 2e-6, "bus": 4e-6, "net": 5e-6}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How an algorithm's messages are sent.

    Attributes:
        share: part of a link's rate that payload reaches, by sort of link (:func:`sort_of`).
        waits: seconds of one message, by sort of link; None where it takes the domain's latency.
        start: seconds before the first message.
        flags: whether flags travel beside data, which needs links that deliver in order.
        posted: seconds the host takes to post a step on the network, which every step of a ring that leaves a box waits for.
        corrections: what is left of the rate at 64 B, 128 B, … as the tuner knows it.
    """

    name: str
    share: Mapping[str, float]
    waits: Mapping[str, float] | None = None
    start: float = 0.0
    flags: bool = False
    posted: float = 0.0
    corrections: tuple[float, ...] = ()

    def wait(self, domain: Domain, latency: Value, leaves: Value) -> Value:
        """Seconds of one message over a domain.

        Args:
            latency: of the domain.
            leaves: 1 where the group leaves a box.
        """
        if self.waits is None:
            return latency
        sort = sort_of(domain)
        usual = self.waits[sort]
        return maximum(maximum(usual + latency - REFERENCE[sort], 0.25 * usual), self.posted * leaves)

    def corrected(self, payload: Value) -> Value:
        """Part of the share that is left at a message's size."""
        if not self.corrections:
            return 1.0
        places = log2(maximum(payload, 1.0)) - 6.0
        found = np.interp(places, np.arange(len(self.corrections)), self.corrections)
        return found if isinstance(places, np.ndarray) else float(found)


@dataclass(frozen=True, slots=True)
class Library:
    """Algorithms with their protocols.

    Attributes:
        only: those of a collective, where not all that can are used.
        spread: logs of measured over predicted at the ends of its 80 % interval; None where nothing was measured.
    """

    name: str
    ways: tuple[tuple[Algorithm, Protocol], ...]
    only: Mapping[str, tuple[str, ...]]
    spread: tuple[float, float] | None = None


def sort_of(domain: Domain) -> str:
    """``net`` between boxes, ``bus`` on a host's PCIe, ``up`` on links between devices."""
    if domain.role == "scale_out":
        return "net"
    return "bus" if domain.topology in ("tree", "shared") else "up"


def _each(up: float, bus: float, net: float) -> dict[str, float]:
    return {"up": up, "bus": bus, "net": net}


PLAIN = Protocol("plain", _each(1.0, 1.0, 1.0))

# What rings reach of a link in Simple: of NVLink 235 of 300 GB/s (the tuner's cap for A100, version 2.7); of a bus shared at its
# root 0.6 and of a network 0.93 (packets' headers), both assumed.
REACH = _each(0.78, 0.6, 0.93)


def _of(up: float, bus: float, net: float) -> dict[str, float]:
    return {"up": up * REACH["up"], "bus": bus * REACH["bus"], "net": net * REACH["net"]}


def _micro(up: float, bus: float, net: float) -> dict[str, float]:
    return {"up": up * 1e-6, "bus": bus * 1e-6, "net": net * 1e-6}


_TREE_LL = (1, 1, 1, 1, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_TREE_LL128 = (1, 1, 1, 1, 1, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1.0)
_TREE_SIMPLE = (0.9,) * 7 + (0.8, 0.7, 0.6, 0.6) + (0.5,) * 6 + (0.6, 0.7, 0.8, 0.9, 1.0)

# LL is half of a ring's rate, 88 to 282 GB/s at most inside a box (0.4 of these links) and 20 to 39 between boxes.
RING_LL = Protocol("LL", _of(0.4, 0.5, 0.15), _micro(0.6, 1.0, 2.7), 6.6e-6, True, 1e-6)
RING_LL128 = Protocol("LL128", _of(0.92, 0.92, 0.92), _micro(1.9, 2.5, 4.0), 14e-6, True, 1e-6)
RING_SIMPLE = Protocol("Simple", REACH, _micro(3.4, 5.7, 14.0), 8.4e-6, False, 3e-6)
TREE_LL = Protocol("LL", _of(0.24, 0.24, 0.15), _micro(0.6, 1.0, 5.0), 6.8e-6, True, 0.0, _TREE_LL)
TREE_LL128 = Protocol("LL128", _of(0.86, 0.86, 0.86), _micro(1.25, 1.9, 8.5), 14e-6, True, 0.0, _TREE_LL128)
TREE_SIMPLE = Protocol("Simple", _of(0.92, 0.92, 0.92), _micro(4.0, 4.0, 14.0), 8.4e-6, False, 0.0, _TREE_SIMPLE)
# Multicast stores reach fewer bytes/s than plain ones: 0.85 of the links on Hopper, 0.74 on Blackwell. 25 µs in the box.
SWITCH_SIMPLE = Protocol("Simple", _each(0.8, 0.6, 0.93), _micro(12.5, 12.5, 14.0))
# Parallel aggregated trees: three quarters of the rate, log2 n messages of 4 µs and 2.8 µs for every rank.
PAT_SIMPLE = Protocol("Simple", _of(0.75, 0.75, 0.75), _micro(4.0, 4.0, 4.0), 8e-6)
# One pair opens fewer channels than a ring: 0.78 to 0.84 of a 50 GB/s port (send_recv of collectives_pairwise, DGX H100).
PAIR_SIMPLE = Protocol("Simple", _each(0.78, 0.6, 0.8), RING_SIMPLE.waits, RING_SIMPLE.start)

_RINGS, _TREES = (RING_LL, RING_LL128, RING_SIMPLE), (TREE_LL, TREE_LL128, TREE_SIMPLE)
NCCL = Library(
    "nccl",
    (
        *((RING, protocol) for protocol in _RINGS), *((TREE, protocol) for protocol in _TREES),
        (SWITCH, SWITCH_SIMPLE), (PARALLEL_TREES, PAT_SIMPLE), (DIRECT, RING_LL), (DIRECT, RING_SIMPLE), (PAIR, RING_LL),
        (PAIR, PAIR_SIMPLE),
    ),
    dict.fromkeys(("all_reduce", "all_gather", "reduce_scatter", "broadcast"), ("ring", "tree", "switch", "pat")),
    # Between boxes whose ports are known: studies/2026-11-topology.md.
    (math.log(0.8), math.log(1.7)),
)  # fmt: skip
ANY = Library("any", tuple((algorithm, PLAIN) for algorithm in ALGORITHMS), {})

ONCE = "once"  # how a stack's ``dispatch`` says that tokens go to a set of ranks once, whatever picks they have there


def dispatching(library: Library, copies: Value) -> Library:
    """The library with an all_to_all that sends equal rows once to a set of ranks (:func:`.algorithms.once`)."""
    algorithm = once(copies)
    ways = tuple((algorithm, protocol) for direct, protocol in library.ways if direct is DIRECT)
    return dataclasses.replace(library, ways=ways)


OTHERS = ("Xe-HPC", "Xe2-HPG")  # Intel's GPUs talk through oneCCL


def library_of(machine: Machine, named: bool) -> Library:
    """The library that runs a message: NCCL or RCCL on GPUs of NVIDIA and AMD.

    Args:
        machine: whose devices talk.
        named: whether the stack names measured libraries at all; an ideal one may take any algorithm at the links' rate.
    """
    return NCCL if named and machine.kind == "gpu" and machine.architecture not in OTHERS else ANY
