"""Messages among equal ranks of one domain: bytes over links and steps of latency.

Least traffic through one rank's port, per direction, for a payload of S bytes on n ranks (Thakur, Rabenseifner, Gropp,
"Optimization of Collective Communication Operations in MPICH", 2005, §4; NCCL's busbw factors are the same numbers):

=============== =========================== ==========================================
collective      ring or pairwise            with in-network reduction (limit on a switch)
=============== =========================== ==========================================
all_reduce      2 (n − 1)/n · S             S
all_gather      (n − 1)/n · S               (n − 1)/n · S
reduce_scatter  (n − 1)/n · S               same
all_to_all      (n − 1)/n · S               same
send_recv       S                           same
=============== =========================== ==========================================
"""

from __future__ import annotations

from .._foundation.arrays import Value, maximum, minimum, where
from ..hardware.machine import Domain, Machine


def traffic(collective: str, size: Value, payload: Value) -> Value:
    """Bytes through a rank's port, per direction, by ring or pairwise exchange."""
    n = maximum(size, 1.0)
    share = (n - 1) / n
    if collective == "all_reduce":
        return 2 * share * payload
    if collective == "send_recv":
        return payload * where(n > 1, 1.0, 0.0)
    return share * payload


def least_traffic(collective: str, size: Value, payload: Value, topology: str) -> Value:
    """The fewest bytes any algorithm moves: switches may reduce in the network."""
    usual = traffic(collective, size, payload)
    if collective == "all_reduce" and topology == "switch":
        return minimum(usual, where(size > 1, payload, 0.0))
    return usual


def steps(collective: str, size: Value) -> Value:
    """Dependent messages of the algorithm with the fewest: one-shot exchange, or reduce and broadcast."""
    many = where(size > 1, 1.0, 0.0)
    return 2 * many if collective == "all_reduce" else many


def domain_for(machine: Machine, size: Value) -> tuple[list[Domain], list[Value]]:
    """Domains of a box that a group of ``size`` ranks spans, with a mask each: the innermost that holds them all."""
    chosen: list[Domain] = []
    masks: list[Value] = []
    left: Value = where(size > 0, 1.0, 0.0)
    for domain in (d for d in machine.domains if d.role == "scale_up"):
        here = left * where(size <= domain.size, 1.0, 0.0)
        chosen.append(domain)
        masks.append(here)
        left = left - here
    if chosen:
        masks[-1] = masks[-1] + left  # larger than every domain: the outermost carries it
    return chosen, masks
