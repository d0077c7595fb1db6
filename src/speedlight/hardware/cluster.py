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
from .machine import Domain, Link, Machine

MOST_NODES = 1_000_000
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
    size = nodes * box.n_devices
    facts = dict(box.facts)
    if not network:
        if port is None:
            raise BadInput(
                f"{box.id} states no port to other boxes, so {nodes} of it cannot be joined",
                expected="a link of role scale_out in its spec file, or a cluster file that states the network",
            )
        network = (Domain(port.name, "fat-tree", size, port.bandwidth, port.latency_s, role="scale_out"),)
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
