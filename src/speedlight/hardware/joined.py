"""Files of systems and clusters → :class:`~.machine.Machine`: devices joined in a box, boxes joined by a network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import MappingProxyType

from .._foundation.errors import BadInput
from .cluster import cluster
from .devices import links_of, tier_of
from .figures import Facts, distinct, one_of, part_of, price_of, ratio_of, year_of
from .machine import Domain, Machine, Part
from .mixed import weakest
from .spec import ClusterSpec, DomainSpec, SystemSpec

SHARED_ROLES = ("host", "storage", "remote")
TOPOLOGIES = ("switch", "full-mesh", "ring", "torus", "mesh", "fat-tree", "tree", "cube-mesh", "shared")
GRIDS = ("ring", "torus", "mesh")
ROUTINGS, DUPLEX = ("hashed", "sprayed", "planned"), ("full", "half")


def system(spec: SystemSpec, device: Machine) -> Machine:
    if spec.count < 1:
        raise BadInput(f"count is {spec.count}", expected="at least 1 device")
    if device.n_devices != 1 or device.domains:
        raise BadInput(f"device {spec.device!r} is itself a system", expected="the id of a single device")
    facts = Facts(spec.grade, spec.sources)
    domains = _domains(spec.domains, facts, (), "scale_up")
    if spec.count > 1 and (not domains or domains[-1].size < spec.count):
        size = domains[-1].size if domains else 0
        raise BadInput(f"count is {spec.count}, but the domains join {size}", expected="a domain that holds them all")
    for t in spec.host_tiers:
        one_of(t.role, SHARED_ROLES, f"host_tiers.{t.name}.role")
    distinct([*(t.name for t in device.tiers), *(t.name for t in spec.host_tiers)], "memory tier")
    distinct([*(k.name for k in device.links), *(k.name for k in spec.links)], "link")
    host = tuple(tier_of(t, facts, "gpu") for t in spec.host_tiers)
    links = links_of(spec.links, facts)
    facts.optional(spec.node_power, "W", "node_power_w")
    return dataclasses.replace(
        device,
        id=spec.id,
        name=spec.name,
        vendor=spec.vendor or device.vendor,
        n_devices=spec.count,
        domains=tuple(domains),
        links=device.links + links,
        tiers=device.tiers + host,
        release_year=year_of(spec.release_year) or device.release_year,
        price=price_of(spec.price) if spec.price else device.price,
        facts=MappingProxyType({**device.facts, **facts.facts}),
        notes=device.notes + tuple(spec.notes),
    )


def _domains(specs: list[DomainSpec], facts: Facts, inner: tuple[Domain, ...], role: str) -> list[Domain]:
    """Domains around those that are there, each at least as large as the one inside it."""
    domains: list[Domain] = []
    distinct([*(d.name for d in inner), *(d.name for d in specs)], "domain")
    for d in specs:
        path = f"domains.{d.name}"
        for value, allowed, field in (
            (d.topology, TOPOLOGIES, "topology"), (d.routing, ROUTINGS, "routing"), (d.duplex, DUPLEX, "duplex"),
        ):  # fmt: skip
            one_of(value, allowed, f"{path}.{field}")
        held = next((x.size for x in (*reversed(domains), *reversed(inner))), 1)
        if d.size < held:
            least = f"at least the {held} of the domain inside it" if domains or inner else "at least 1 device"
            raise BadInput(f"{path}.size is {d.size}", expected=least)
        _check_shape(d, held, path)
        domains.append(
            Domain(
                d.name, d.topology, d.size,
                bandwidth=facts.read(d.bandwidth, "B/s", f"{path}.bandwidth"),
                latency_s=facts.optional(d.latency, "s", f"{path}.latency_s", 2e-6),
                role=role, shape=tuple(d.shape), leaf=float(d.leaf), uplinks=float(d.uplinks), routing=d.routing,
                reduces=d.reduces, duplex=d.duplex, ordered=d.ordered,
                oversubscription=ratio_of(d.oversubscription, facts, f"{path}.oversubscription", 1.0),
                sharers=ratio_of(d.sharers, facts, f"{path}.sharers", 1.0),
                loss=part_of(d.loss, facts, f"{path}.loss", 0.0),
                availability=part_of(d.availability, facts, f"{path}.availability", 1.0),
            )
        )  # fmt: skip
    return domains


def _check_shape(spec: DomainSpec, held: int, path: str) -> None:
    """A grid's sides multiply to the sets it joins; a leaf holds whole sets and not more than there are."""
    if any(side < 1 for side in spec.shape) or (spec.shape and spec.topology not in GRIDS):
        raise BadInput(f"{path}.shape is {spec.shape} of a {spec.topology}", expected="sides of a torus or mesh")
    if spec.shape and math.prod(spec.shape) * held != spec.size:
        raise BadInput(
            f"{path}.shape {' × '.join(map(str, spec.shape))} of sets of {held} is not {spec.size}",
            expected=f"sides that multiply to {spec.size // held}",
        )
    if spec.leaf and not (held <= spec.leaf <= spec.size):
        raise BadInput(f"{path}.leaf is {spec.leaf}", expected=f"devices below a leaf switch, {held} to {spec.size}")
    if spec.uplinks < 0:
        raise BadInput(f"{path}.uplinks is {spec.uplinks}", expected="at least 0")


def cluster_of(spec: ClusterSpec, load: Callable[[str], Machine]) -> Machine:
    """So many boxes, joined by what the file states or by their own ports."""
    if not spec.id:
        raise BadInput("id is empty", expected="a name like dgx-a100x384")
    if bool(spec.system) == bool(spec.parts) or (spec.parts and spec.nodes):
        raise BadInput(
            "a cluster states its boxes once", expected="system and nodes, or parts", hint="see docs/machines.md"
        )
    if spec.parts:
        if any(part.nodes < 1 for part in spec.parts):
            raise BadInput("a part of 0 nodes", expected="at least 1 node of each part")
        box = weakest([Part(load(part.system), part.nodes) for part in spec.parts], spec.id)
        nodes = sum(part.nodes for part in spec.parts)
    else:
        box, nodes = load(spec.system), spec.nodes
    facts = Facts(spec.grade, spec.sources)
    network = _domains(spec.network, facts, box.domains, "scale_out")
    if network and network[-1].size < nodes * box.n_devices:
        raise BadInput(
            f"{nodes} nodes of {box.n_devices}, but the network joins {network[-1].size} devices",
            expected=f"an outermost size of {nodes * box.n_devices}",
        )
    for t in spec.host_tiers:
        one_of(t.role, SHARED_ROLES, f"host_tiers.{t.name}.role")
    distinct([*(t.name for t in box.tiers), *(t.name for t in spec.host_tiers)], "memory tier")
    joined = cluster(box, nodes, network, spec.id)
    return dataclasses.replace(
        joined,
        name=spec.name,
        id=spec.id,
        release_year=year_of(spec.release_year) or box.release_year,
        price=price_of(spec.price) if spec.price else box.price,
        tiers=box.tiers + tuple(tier_of(t, facts, box.kind) for t in spec.host_tiers),
        facts=MappingProxyType({**joined.facts, **facts.facts}),
        notes=box.notes + tuple(spec.notes),
    )
