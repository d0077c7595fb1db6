"""What a group of equal ranks talks over: a box's links, the host's bus, the network between boxes.

A lone device with a scale-up link is taken to sit in a switched domain that holds the whole group (an HGX board, an NVL72
rack); a device without one reaches its peers over the host's bus. Ranks beyond a box, or spread over boxes, use each
rank's network port.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..._foundation.arrays import Value, maximum, minimum, where
from ...hardware.machine import REDUCING, Machine
from ..collective import domain_for, least_traffic, traffic

# A reduction in the switch moves (1 + 1/n)·S through a port, but multicast stores reach fewer bytes/s than plain ones:
# NCCL's tuning model (src/graph/tuning.cc, nvlsEfficiency) gives a switch reduction 0.85 of the links' rate on Hopper
# and 0.74 on Blackwell where rings get all of it.
SWITCH_EFFICIENCY = 0.8
# Peers on a host's bus share its root ports, and packets carry headers: B60s reach 0.6 of PCIe's rate with oneCCL.
BUS_SHARE = 0.6
# Start of a communication kernel. Not the device's launch floor: that is of kernels a framework starts one by one (26 µs
# on a B60, where a whole oneCCL all_gather takes 13 µs).
START = 2e-6
# A box without a network port in its file: 25 Gbit/s Ethernet a rank, assumed (pairs of the pairwise table, in two boxes,
# reach 2.2–2.5 GB/s); no limit is drawn from it.
PORT_BANDWIDTH = 3.125e9
PORT_LATENCY = 1e-5


@dataclass(frozen=True, slots=True)
class Fabric:
    """Links of one group.

    Attributes:
        ranks, per_node, nodes: how the group is spread.
        bandwidth: bytes/s per direction and rank inside a box.
        ceiling: bytes/s that limit what passes inside a box: the links', or the memory's where the links are assumed.
        latency: seconds of one message inside a box.
        bus: 1 where ranks meet on the host's bus, else 0.
        port: bytes/s of a rank's network port.
        port_latency: seconds of one message between boxes.
        port_known: whether the machine's file states the port.
        topology: of the outermost domain that the group needs.
        reduces: whether the switch adds up what passes through it.
    """

    ranks: Value
    per_node: Value
    nodes: Value
    bandwidth: Value
    ceiling: Value
    latency: Value
    bus: Value
    port: Value
    port_latency: Value
    port_known: bool
    topology: str
    reduces: bool

    def wire(self, collective: str, size: Value) -> Value:
        """Seconds on the links inside a box, by the algorithm that moves least.

        Args:
            collective: see :func:`..collective.traffic`.
            size: bytes of the whole payload.
        """
        amount = traffic(collective, self.per_node, size)
        if collective == "all_reduce" and self.reduces:
            switched = (1.0 + 1.0 / self.per_node) / SWITCH_EFFICIENCY * size
            amount = where(self.per_node > 1, minimum(amount, switched), 0.0)
        return self.passing(amount)

    def passing(self, amount: Value) -> Value:
        """Seconds that bytes through a rank's link take."""
        return amount / (self.bandwidth * (BUS_SHARE * self.bus + (1.0 - self.bus)))

    def network(self, collective: str, size: Value) -> Value:
        """Seconds on the ports between boxes: the ring leaves every box once, over all its ranks' ports."""
        amount = where(self.nodes > 1, traffic(collective, self.ranks, size), 0.0)
        return amount / (self.port * self.per_node)

    def least(self, collective: str, size: Value) -> Value:
        """Seconds below which no algorithm gets: fewest bytes through a rank's link, and out of a box."""
        inside = least_traffic(collective, self.per_node, size, self.topology if self.reduces else "")
        between = least_traffic(collective, self.nodes, size, "switch") / self.per_node
        across = where(self.nodes > 1, between / self.port, 0.0) if self.port_known else 0.0
        return maximum(inside / self.ceiling, across)


def fabric(machine: Machine, ranks: Value, per_node: Value | None = None, stride: Value = 1.0) -> Fabric:
    """The links of a group of ``ranks`` that stand ``stride`` devices apart, ``per_node`` of them in a box (by default as many
    as it holds)."""
    links = {link.role: link for link in machine.links}
    up, host, out = links.get("scale_up"), links.get("host"), links.get("scale_out")
    if per_node is None:
        per_node = minimum(ranks, machine.box) if machine.domains else ranks
    nodes = maximum(ranks / per_node, 1.0)
    bandwidth: Value = 0.0
    ceiling: Value = 0.0
    latency: Value = 0.0
    bus: Value = 0.0
    topology = "switch"
    if machine.domains:
        domains, masks = domain_for(machine, minimum(per_node * stride, machine.box))
        for domain, mask in zip(domains, masks, strict=True):
            fact = machine.facts.get(f"domains.{domain.name}.bandwidth")
            known = fact is not None and fact.grade != "assumed"  # an assumed figure proves nothing impossible
            bandwidth = bandwidth + mask * domain.bandwidth
            ceiling = ceiling + mask * (domain.bandwidth if known else machine.main.bandwidth)
            latency = latency + mask * domain.latency_s
            bus = bus + mask * (domain.topology == "tree")
        topology = domains[0].topology if domains else topology
    else:
        link = up or host or out
        if link is None:
            bandwidth, latency = machine.main.bandwidth, machine.main.latency_s
        else:
            bandwidth, latency = link.bandwidth, link.latency_s
        ceiling = bandwidth
        bus = 0.0 if up is not None else 1.0
        topology = "switch" if up is not None else "tree"
    reduces = topology == "switch" and machine.architecture.split(" ")[0] in REDUCING and up is not None
    return Fabric(
        ranks, per_node, nodes, bandwidth, ceiling, latency, bus, PORT_BANDWIDTH if out is None else out.bandwidth,
        PORT_LATENCY if out is None else out.latency_s, out is not None, topology, reduces,
    )  # fmt: skip
