"""Device files → :class:`~.machine.Machine`: engines with their peaks, memory tiers, ports."""

from __future__ import annotations

import math
from types import MappingProxyType

from .._foundation.errors import BadInput, UnknownName
from .._foundation.expr import evaluate
from .._foundation.expr_text import parse_expr
from .._foundation.formats import FORMATS
from .figures import Facts, distinct, one_of, price_of, ratio_of, year_of
from .machine import Engine, Link, Machine, Peak, Tier
from .spec import DeviceSpec, EngineSpec, LinkSpec, PeakSpec, TierSpec

ROLES = ("registers", "sram", "cache", "main", "host", "storage", "remote")
LINK_ROLES = ("scale_up", "scale_out", "host")
KINDS = ("gpu", "cpu", "tpu", "npu", "soc", "dataflow", "wafer", "in-memory", "fpga", "mcu")
ENGINE_KINDS = ("simt", "cores", "systolic", "dataflow", "in-memory")
# Latencies and granules a spec file may leave out; graded assumed where used.
DEFAULT_LATENCY_S = {
    "registers": 1e-9, "sram": 2e-8, "cache": 1.5e-7, "main": 6e-7, "host": 1e-6, "storage": 8e-5, "remote": 2e-6,
}  # fmt: skip
DEFAULT_GRANULE = {"storage": 4096.0, "remote": 256.0}
DEFAULT_LAUNCH_S = {"simt": 2e-6, "cores": 1e-6, "systolic": 5e-6, "dataflow": 5e-6, "in-memory": 1e-6}
DERIVE_TOLERANCE = 0.02  # vendors round their peaks to two or three digits


def device(spec: DeviceSpec) -> Machine:
    facts = Facts(spec.grade, spec.sources)
    one_of(spec.kind, KINDS, "kind")
    one_of(spec.execution, ("temporal", "spatial"), "execution")
    if not spec.id:
        raise BadInput("id is empty", expected="a name like h100-sxm-80gb")
    if not spec.engines:
        raise BadInput("no engine", expected="at least one engine with peaks")
    mains = sum(t.role == "main" for t in spec.tiers)
    if mains != 1:
        raise BadInput(f"the tiers name {mains} main memories", expected="exactly one tier with role: main")
    distinct((e.name for e in spec.engines), "engine")
    distinct((t.name for t in spec.tiers), "memory tier")
    engines = tuple(_engine(e, facts) for e in spec.engines)
    tiers = tuple(tier_of(t, facts, spec.kind) for t in spec.tiers)
    links = links_of(spec.links, facts)
    tdp = facts.optional(spec.tdp, "W", "tdp_w")
    return Machine(
        id=spec.id, name=spec.name, vendor=spec.vendor, kind=spec.kind, device_id=spec.id, n_devices=1,
        engines=engines, tiers=tiers, links=links, domains=(), execution=spec.execution,
        architecture=spec.architecture, release_year=year_of(spec.release_year), tdp_w=tdp, price=price_of(spec.price),
        device_strings=tuple(spec.device_strings), facts=MappingProxyType(facts.facts), notes=tuple(spec.notes),
    )  # fmt: skip


def _engine(spec: EngineSpec, facts: Facts) -> Engine:
    path = f"engines.{spec.name}"
    one_of(spec.kind, ENGINE_KINDS, f"{path}.kind")
    units = facts.read(spec.units, "", f"{path}.units")
    clock = facts.read(spec.clock, "Hz", f"{path}.clock_hz")
    latency = facts.optional(spec.launch_latency, "s", f"{path}.launch_latency_s", DEFAULT_LAUNCH_S[spec.kind])
    if any(side < 1 for tile in spec.tiles for side in tile):
        raise BadInput(f"{path}.tiles holds a side below 1", expected="rows and columns of at least 1")
    if not spec.peaks:
        raise BadInput(f"{path} has no peaks", expected="at least one")
    distinct((f"{p.unit}.{p.format}.{p.accumulate}" for p in spec.peaks), f"{path}: the peak")
    peaks = tuple(_peak(p, path, facts, units, clock) for p in spec.peaks)
    fill = facts.optional(spec.fill, "s", f"{path}.fill_s") or 0.0
    return Engine(spec.name, spec.kind, units, clock, peaks, tuple(spec.tiles), latency, fill)


def _peak(spec: PeakSpec, path: str, facts: Facts, units: float, clock: float) -> Peak:
    where = f"{path}.peaks.{spec.unit}.{spec.format}.{spec.accumulate}"
    for name in (spec.format, spec.accumulate):
        if name not in FORMATS:
            raise UnknownName(f"number format at {where}:", name, FORMATS)
    flops = facts.read(spec.flops, "FLOP/s", where)
    sparse = facts.optional(spec.sparse, "FLOP/s", f"{where}.sparse")
    if sparse is not None and sparse < flops:
        raise BadInput(f"{where}.sparse is {sparse:.4g}", expected=f"at least the dense rate of {flops:.4g}")
    if spec.derive is not None:
        derived = _derive(spec.derive, where, {"units": units, "clock": clock})
        if not math.isclose(derived, flops, rel_tol=DERIVE_TOLERANCE):
            raise BadInput(
                f"{where} is {flops:.4g} but its derive, {spec.derive}, gives {derived:.4g}",
                expected=f"both within {DERIVE_TOLERANCE:.0%}",
                hint="correct units, clock or FLOP per clock, or leave derive out",
            )
    return Peak(spec.unit, spec.format, spec.accumulate, flops, sparse, facts.facts[where].grade)


def _derive(text: str, where: str, env: dict[str, float]) -> float:
    """The value of a peak's arithmetic; nothing but arithmetic runs, and nothing that could run away."""
    if "**" in text:  # 9**9**9 would be computed while it is read
        raise BadInput(f"{where}.derive uses a power", expected="FLOP per clock and unit * units * clock")
    try:
        return float(evaluate(parse_expr(text), env))
    except BadInput as error:
        raise BadInput(f"{where}.derive: {error.message}", expected=error.expected, hint=error.hint) from None
    except (ArithmeticError, TypeError, ValueError) as error:
        raise BadInput(f"{where}.derive cannot be computed: {error}", expected="like units * 4096 * clock") from None


def tier_of(spec: TierSpec, facts: Facts, kind: str) -> Tier:
    path = f"tiers.{spec.name}"
    one_of(spec.role, ROLES, f"{path}.role")
    main = "sram" if spec.name == "sram" else "host_dram" if kind == "cpu" else "hbm"
    resource = {
        "registers": "sram", "sram": "sram", "cache": "cache", "main": main, "host": "host_dram", "storage": "disk",
        "remote": "link:remote",
    }[spec.role]  # fmt: skip
    return Tier(
        name=spec.name,
        role=spec.role,
        capacity_bytes=facts.read(spec.capacity, "B", f"{path}.capacity_bytes"),
        bandwidth=facts.read(spec.bandwidth, "B/s", f"{path}.bandwidth"),
        latency_s=facts.optional(spec.latency, "s", f"{path}.latency_s", DEFAULT_LATENCY_S[spec.role]),
        granule_bytes=facts.optional(spec.granule, "B", f"{path}.granule_bytes", DEFAULT_GRANULE.get(spec.role, 64.0)),
        outstanding_bytes=facts.optional(spec.outstanding, "B", f"{path}.outstanding_bytes"),
        energy_per_byte=facts.optional(spec.energy_per_byte, "J/B", f"{path}.energy_per_byte"),
        resource=resource,
    )


def links_of(specs: list[LinkSpec], facts: Facts) -> tuple[Link, ...]:
    distinct((k.name for k in specs), "link")
    links = []
    for spec in specs:
        path = f"links.{spec.name}"
        one_of(spec.role, LINK_ROLES, f"{path}.role")
        bandwidth = facts.read(spec.bandwidth, "B/s", f"{path}.bandwidth")
        latency = facts.optional(spec.latency, "s", f"{path}.latency_s", 2e-6)
        if not 0 <= spec.grid <= 3 or spec.wrap < 1:
            raise BadInput(
                f"{path} has grid {spec.grid} and wrap {spec.wrap}", expected="0 to 3 dimensions, sides from 1"
            )
        links.append(
            Link(
                spec.name,
                spec.role,
                bandwidth,
                latency,
                spec.grid,
                spec.wrap,
                spec.ordered,
                ratio_of(spec.sharers, facts, f"{path}.sharers", 1.0),
            )
        )
    return tuple(links)
