"""Several equal boxes joined by their network ports: ``dgx-h100x16``, ``--on dgx-h100 --nodes 16``, or a cluster file.

A box becomes a cluster by one more domain that holds all boxes' devices. Unless a file states the network, it is what the box's
``scale_out`` link says: every device's share of the cards, and a fat tree that never blocks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from types import MappingProxyType

from .._foundation.errors import BadInput, UnknownName
from .machine import REDUCING, Domain, Link, Machine

MOST_NODES = 1_000_000
MOST_IN_A_BOX = 16  # devices that one host's bus or one box's switch joins (DGX-2, PCIe servers)
_NAMED = re.compile(r"^(?P<box>.+?)\s*[x×*]\s*(?P<nodes>[1-9][0-9]{0,6})$")


def cluster(box: Machine, nodes: int, network: Sequence[Domain] = (), name: str = "") -> Machine:
    """So many boxes as one machine.

    Args:
        box: a device or a system; a lone device is a box of one.
        nodes: how many.
        network: domains that join them, innermost first, sizes in devices; by default one from the box's ``scale_out`` link.
        name: id of the cluster; by default ``<box>x<nodes>``.

    Raises:
        BadInput: for a count that makes no sense, a box that is a cluster already, or one that states no network port.
    """
    if not 1 <= nodes <= MOST_NODES:
        raise BadInput(f"a cluster of {nodes} nodes", expected=f"1 to {MOST_NODES:,}")
    if any(d.role == "scale_out" for d in box.domains):
        raise BadInput(
            f"{box.id} is a cluster already", expected="a box", hint="name its box, or change the file's nodes"
        )
    if nodes == 1 and not network:
        return box
    port = port_of(box)
    alone = not network and port is None and not box.domains
    if alone and (nodes <= MOST_IN_A_BOX or any(link.grid for link in box.links)):
        return joined(box, nodes, name or f"{box.id}x{nodes}")
    size = nodes * box.n_devices
    facts = dict(box.facts)
    if not network:
        if port is None:
            raise BadInput(
                f"{box.id} states no port to other boxes, so {nodes} of it cannot be joined",
                expected="a link of role scale_out in its spec file, or a cluster file that states the network",
            )
        network = (
            Domain(
                port.name, "fat-tree", size, port.bandwidth, port.latency_s, role="scale_out", ordered=port.ordered,
                sharers=port.sharers,
            ),
        )  # fmt: skip
        for field in ("bandwidth", "latency_s"):
            stated = facts.get(f"links.{port.name}.{field}")
            if stated is not None:
                facts[f"domains.{port.name}.{field}"] = stated
    return dataclasses.replace(
        box,
        id=name or f"{box.id}x{nodes}",
        name=f"{nodes} × {box.name}",
        n_devices=size,
        domains=(*box.domains, *network),
        facts=MappingProxyType(facts),
    )


def joined(device: Machine, number: int, name: str = "") -> Machine:
    """So many lone devices in one domain, joined by their own scale-up link, or by the host's bus where they have none.

    Raises:
        BadInput: for a device that states no link.
    """
    links = [k for role in ("scale_up", "host") for k in device.links if k.role == role]
    if not links:
        raise BadInput(f"{device.id} states no link, so {number} of it cannot work together", expected="one device")
    link = links[0]
    facts = {
        f"domains.{link.name}.{field}": fact
        for field in ("bandwidth", "latency_s")
        if (fact := device.facts.get(f"links.{link.name}.{field}")) is not None
    }
    return dataclasses.replace(
        device, id=name or device.id, n_devices=number, domains=(_domain(device, link, number),),
        facts=MappingProxyType({**device.facts, **facts}),
    )  # fmt: skip


def _domain(device: Machine, link: Link, number: int) -> Domain:
    if link.grid:
        shape = sides(number, link.grid)
        closed = all(side >= link.wrap for side in shape)
        return Domain(
            link.name, "torus" if closed else "mesh", number, link.bandwidth, link.latency_s, shape=shape
        )  # fmt: skip
    topology = "switch" if link.role == "scale_up" and link.name.startswith("nvlink") else "tree"
    reduces = topology == "switch" and device.architecture.split(" ")[0] in REDUCING
    return Domain(link.name, topology, number, link.bandwidth, link.latency_s, reduces=reduces)


def sides(number: int, dimensions: int) -> tuple[int, ...]:
    """Sides of the most cubic grid of so many devices: factors as equal as they can be, small before large."""
    found: list[int] = []
    left = number
    for remaining in range(dimensions, 0, -1):
        root = round(left ** (1 / remaining))
        side = next(d for d in range(min(root + 1, left), 0, -1) if left % d == 0 and d**remaining <= left)
        found.append(side)
        left //= side
    return tuple(found)


def port_of(box: Machine) -> Link | None:
    """The link each device of a box reaches other boxes by, if its file states one."""
    return next((link for link in box.links if link.role == "scale_out"), None)


def named_cluster(name: str, load: Callable[[str], Machine]) -> Machine | None:
    """``dgx-h100x16`` or ``my.yaml x 16``: a known box and a number of them; None where the name is of another form.

    Args:
        name: what the user typed, no machine of its own.
        load: finds the box.
    """
    found = _NAMED.match(name.strip())
    if found is None:
        return None
    try:
        box = load(found["box"])
    except UnknownName:
        return None
    return cluster(box, int(found["nodes"]))


def with_nodes(machine: str, nodes: int) -> str:
    """The name of so many of a machine, as :func:`named_cluster` reads it."""
    if not 1 <= nodes <= MOST_NODES:
        raise BadInput(f"--nodes {nodes}", expected=f"1 to {MOST_NODES:,}")
    return machine if nodes == 1 else f"{machine} x {nodes}"
