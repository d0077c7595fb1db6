"""Edges between programs, checked, and the ports of the machines they leave by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..._foundation.errors import BadInput
from ..._foundation.quantity import parse_quantity
from ...hardware.machine import Domain, Link, Machine
from ...scenario.scenario import Edge, Scenario


def check_edges(scenario: Scenario) -> None:
    """Refuse edges between programs that are not there, backwards in time, or of amounts that make no sense.

    Raises:
        BadInput: naming the edge.
    """
    order = [program.name for program in scenario.programs]
    for edge in scenario.edges:
        label = f"the edge {edge_name(edge)}"
        if edge.source not in order or edge.target not in (*order, ""):
            raise BadInput(f"{label} joins no two programs", expected="two of " + ", ".join(order))
        if edge.target and order.index(edge.source) >= order.index(edge.target):
            raise BadInput(f"{label} goes backwards", expected="programs in the order they run")
        for name, value, most in (
            ("bytes", edge.bytes, np.inf),
            ("repeats", edge.repeats, np.inf),
            ("latency", edge.latency_s, np.inf),
            ("probability", edge.probability, 1),
        ):
            array = np.asarray(value, dtype=float)
            if not np.all((array >= 0) & (array <= most)):
                raise BadInput(f"{label}: {name} is {value!r}", expected=f"0 to {most:g}" if most == 1 else "0 or more")


def edge_name(edge: Edge) -> str:
    """``source → target``; a target that is none is the caller."""
    return f"{edge.source} → {edge.target or 'caller'}"


def with_ports(machine: Machine, edges: Sequence[Edge]) -> Machine:
    """The machine with a port for every edge whose link is a rate, not a name.

    Raises:
        BadInput: for a link that is neither.
    """
    ports = tuple(
        Link(_port_of(edge), "edge", _rate(edge.link, machine))
        for edge in edges
        if all(link.name != edge.link for link in _usable(machine))
    )
    return dataclasses.replace(machine, links=(*machine.links, *ports)) if ports else machine


def link_of(edge: Edge, machine: Machine) -> Link | Domain:
    """What an edge's bytes cross: a named link or domain of a machine that has its ports, or the edge's own."""
    found = {link.name: link for link in _usable(machine)}
    return found[edge.link] if edge.link in found else found[_port_of(edge)]


def _usable(machine: Machine) -> tuple[Link | Domain, ...]:
    """Links that a single transfer may take: to a host, or between devices that are there."""
    return (*machine.domains, *(link for link in machine.links if link.role in ("host", "edge")))


def _port_of(edge: Edge) -> str:
    return f"{edge.source}-{edge.target or 'caller'}".replace(" ", "-")


def _rate(text: str, machine: Machine) -> float:
    names = ", ".join(link.name for link in _usable(machine))
    unit = "bit/s" if text.strip().endswith("bit/s") else "B/s"
    try:
        rate = parse_quantity(text, unit)
    except BadInput:
        raise BadInput(
            f"the link {text!r} of an edge",
            expected=f"a link of the machine ({names or 'it has none'}) or a rate like 100 Mbit/s",
        ) from None
    return rate / 8 if unit == "bit/s" else rate
