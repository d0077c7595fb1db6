"""Machine files → :class:`Machine`: units parsed, pedigree kept, nonsense refused."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import msgspec

from .._foundation.errors import BadFile, BadInput, UnknownName, nearest
from .._foundation.expr import evaluate, parse_expr
from .._foundation.formats import FORMATS
from .._foundation.provenance import GRADES, Fact
from .._foundation.quantity import parse_quantity
from .cluster import cluster
from .machine import Curve, Domain, Engine, Link, LocalCalibration, Machine, Part, Peak, PointErrors, Price, Tier
from .mixed import weakest
from .spec import (
    SCHEMA_VERSION,
    CalibratedSpec,
    ClusterSpec,
    CurveSpec,
    DeviceSpec,
    DomainSpec,
    EngineSpec,
    Figure,
    FigureSpec,
    LinkSpec,
    LocalCalibrationSpec,
    MachineSpec,
    PeakSpec,
    PointErrorsSpec,
    PriceSpec,
    SystemSpec,
    TierSpec,
)

ROLES = ("registers", "sram", "cache", "main", "host", "storage", "remote")
SHARED_ROLES = ("host", "storage", "remote")
LINK_ROLES = ("scale_up", "scale_out", "host")
KINDS = ("gpu", "cpu", "tpu", "npu", "soc", "dataflow", "wafer", "in-memory", "fpga", "mcu")
ENGINE_KINDS = ("simt", "cores", "systolic", "dataflow", "in-memory")
TOPOLOGIES = ("switch", "full-mesh", "ring", "torus", "mesh", "fat-tree", "tree", "cube-mesh", "shared")
GRIDS = ("ring", "torus", "mesh")
ROUTINGS, DUPLEX = ("hashed", "sprayed", "planned"), ("full", "half")

# Latencies and granules a spec file may leave out; graded assumed where used.
DEFAULT_LATENCY_S = {
    "registers": 1e-9, "sram": 2e-8, "cache": 1.5e-7, "main": 6e-7, "host": 1e-6, "storage": 8e-5, "remote": 2e-6,
}  # fmt: skip
DEFAULT_GRANULE = {"storage": 4096.0, "remote": 256.0}
DEFAULT_LAUNCH_S = {"simt": 2e-6, "cores": 1e-6, "systolic": 5e-6, "dataflow": 5e-6, "in-memory": 1e-6}
DERIVE_TOLERANCE = 0.02  # vendors round their peaks to two or three digits


def parse_machine(data: Any, where: str, device_by_id: Callable[[str], Machine]) -> Machine:
    """Validate one machine file's content.

    Args:
        data: what the YAML or JSON parser gave.
        where: the file's name, for messages.
        device_by_id: resolves a system's ``device``, or the machine that a calibration is layered over.

    Raises:
        BadFile: with the path of the offending field.
    """
    spec = read_spec(data, where)
    try:
        if isinstance(spec, DeviceSpec):
            return _device(spec)
        if isinstance(spec, CalibratedSpec):
            return _calibrated(spec, device_by_id(spec.machine))
        if isinstance(spec, ClusterSpec):
            return _cluster(spec, device_by_id)
        return _system(spec, device_by_id(spec.device))
    except BadInput as error:
        raise BadFile(f"{where}: {error.message}", expected=error.expected, hint=error.hint) from None


def read_spec(data: Any, where: str) -> MachineSpec:
    """A machine file's content as a record, its fields' types checked.

    Raises:
        BadFile: with the path of the offending field.
    """
    if not isinstance(data, dict):
        raise BadFile(
            f"{where} holds {'nothing' if data is None else 'a ' + type(data).__name__}",
            expected="a mapping describing one machine",
            hint="`speedlight devices --schema` prints the format",
        )
    if "sort" not in data:
        data = {**data, "sort": _sort(data)}
    version = data.get("schema")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise BadFile(f"{where}: schema is {version!r}", expected=f"schema: {SCHEMA_VERSION}")
    try:
        spec: MachineSpec = msgspec.convert(data, MachineSpec)
    except msgspec.ValidationError as error:
        raise BadFile(f"{where}: {error}", hint=_hint(str(error))) from None
    except (OverflowError, RecursionError) as error:
        raise BadFile(f"{where} holds a value out of range: {error}", expected="ordinary numbers") from None
    return spec


def _sort(data: dict[Any, Any]) -> str:
    """The sort of a file that does not say, by the field only that sort has."""
    if "engines" in data:
        return "device"
    return "cluster" if "nodes" in data or "parts" in data else "system" if "domains" in data else "device"


def _hint(message: str) -> str:
    """What to try after msgspec's message: the nearest field for a misspelt one."""
    unknown = re.search(r"unknown field `(.*?)`", message)
    specs = (
        FigureSpec, PeakSpec, EngineSpec, TierSpec, LinkSpec, DomainSpec, DeviceSpec, SystemSpec, PriceSpec,
        ClusterSpec, CalibratedSpec, LocalCalibrationSpec, PointErrorsSpec,
    )  # fmt: skip
    near = nearest(unknown[1], {f for s in specs for f in s.__struct_fields__}) if unknown else []
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}`speedlight devices --schema` prints the format"


class _Facts:
    """Collects the pedigree of each figure while it is read."""

    def __init__(self, default_grade: str, sources: dict[str, str]) -> None:
        self.default = _one_of(default_grade, GRADES, "grade")
        self.sources = sources
        self.only_source = next(iter(sources.values())) if len(sources) == 1 else ""
        self.facts: dict[str, Fact] = {}

    def read(self, figure: Figure, unit: str, path: str, *, zero: bool = False) -> float:
        """One figure in SI, remembered under its path.

        Args:
            figure: number, string with unit, or record.
            unit: the unit expected, empty for counts.
            path: dotted path, for messages and for the machine's ``facts``.
            zero: whether 0 is a value (latencies) or nonsense (rates, sizes).

        Raises:
            BadInput: if it is no positive finite number of that unit, or claims a grade without a source.
        """
        spec = figure if isinstance(figure, FigureSpec) else FigureSpec(figure)
        grade = _one_of(spec.grade or self.default, GRADES, f"{path}: grade")
        try:
            value = parse_quantity(spec.value, unit)
        except BadInput as error:
            raise BadInput(f"{path}: {error.message}", expected=error.expected) from None
        except OverflowError:
            raise BadInput(f"{path} is out of range", expected="a positive number") from None
        if value < 0 or (value == 0 and not zero):
            raise BadInput(f"{path} is {value:g}", expected="a number of at least 0" if zero else "a positive number")
        source = self.sources.get(spec.source, spec.source)
        if grade != "assumed" and not source:
            source = self.only_source
            if not source:
                raise BadInput(
                    f"{path} is graded {grade} without a source",
                    expected="a source, or grade: assumed",
                    hint="write {value: …, source: …}, or one entry under sources",
                )
        if spec.note:
            source = f"{source} ({spec.note})" if source else spec.note
        self.facts[path] = Fact(value, grade, source)
        return value

    def optional(self, figure: Figure | None, unit: str, path: str, default: float | None = None) -> Any:
        """Like :meth:`read`, but what is left out is ``default``, graded assumed, or None: unknown."""
        if figure is None:
            if default is not None:
                self.facts[path] = Fact(default, "assumed", "default of this kind of part")
            return default
        return self.read(figure, unit, path, zero=True)


def _one_of(value: str, allowed: tuple[str, ...], what: str) -> Any:
    if value not in allowed:
        raise BadInput(f"{what} is {value!r}", expected="one of " + ", ".join(allowed))
    return value


def _distinct(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            raise BadInput(f"{what} {name!r} is {'stated twice' if name else 'empty'}", expected="one name each")
        seen.add(name)


def _year(year: int | None) -> int | None:
    if year is not None and not 1940 <= year <= 2100:
        raise BadInput(f"release_year is {str(year)[:12]}", expected="a year, like 2022")
    return year


def _device(spec: DeviceSpec) -> Machine:
    facts = _Facts(spec.grade, spec.sources)
    _one_of(spec.kind, KINDS, "kind")
    _one_of(spec.execution, ("temporal", "spatial"), "execution")
    if not spec.id:
        raise BadInput("id is empty", expected="a name like h100-sxm-80gb")
    if not spec.engines:
        raise BadInput("no engine", expected="at least one engine with peaks")
    mains = sum(t.role == "main" for t in spec.tiers)
    if mains != 1:
        raise BadInput(f"the tiers name {mains} main memories", expected="exactly one tier with role: main")
    _distinct((e.name for e in spec.engines), "engine")
    _distinct((t.name for t in spec.tiers), "memory tier")
    engines = tuple(_engine(e, facts) for e in spec.engines)
    tiers = tuple(_tier(t, facts, spec.kind) for t in spec.tiers)
    links = _links(spec.links, facts)
    tdp = facts.optional(spec.tdp, "W", "tdp_w")
    return Machine(
        id=spec.id, name=spec.name, vendor=spec.vendor, kind=spec.kind, device_id=spec.id, n_devices=1,
        engines=engines, tiers=tiers, links=links, domains=(), execution=spec.execution,
        architecture=spec.architecture, release_year=_year(spec.release_year), tdp_w=tdp, price=_price(spec.price),
        device_strings=tuple(spec.device_strings), facts=MappingProxyType(facts.facts), notes=tuple(spec.notes),
    )  # fmt: skip


def _engine(spec: EngineSpec, facts: _Facts) -> Engine:
    path = f"engines.{spec.name}"
    _one_of(spec.kind, ENGINE_KINDS, f"{path}.kind")
    units = facts.read(spec.units, "", f"{path}.units")
    clock = facts.read(spec.clock, "Hz", f"{path}.clock_hz")
    latency = facts.optional(spec.launch_latency, "s", f"{path}.launch_latency_s", DEFAULT_LAUNCH_S[spec.kind])
    if any(side < 1 for tile in spec.tiles for side in tile):
        raise BadInput(f"{path}.tiles holds a side below 1", expected="rows and columns of at least 1")
    if not spec.peaks:
        raise BadInput(f"{path} has no peaks", expected="at least one")
    _distinct((f"{p.unit}.{p.format}.{p.accumulate}" for p in spec.peaks), f"{path}: the peak")
    peaks = tuple(_peak(p, path, facts, units, clock) for p in spec.peaks)
    fill = facts.optional(spec.fill, "s", f"{path}.fill_s") or 0.0
    return Engine(spec.name, spec.kind, units, clock, peaks, tuple(spec.tiles), latency, fill)


def _peak(spec: PeakSpec, path: str, facts: _Facts, units: float, clock: float) -> Peak:
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


def _tier(spec: TierSpec, facts: _Facts, kind: str) -> Tier:
    path = f"tiers.{spec.name}"
    _one_of(spec.role, ROLES, f"{path}.role")
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


def _links(specs: list[LinkSpec], facts: _Facts) -> tuple[Link, ...]:
    _distinct((k.name for k in specs), "link")
    links = []
    for spec in specs:
        path = f"links.{spec.name}"
        _one_of(spec.role, LINK_ROLES, f"{path}.role")
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
                _ratio(spec.sharers, facts, f"{path}.sharers", 1.0),
            )
        )
    return tuple(links)


def _system(spec: SystemSpec, device: Machine) -> Machine:
    if spec.count < 1:
        raise BadInput(f"count is {spec.count}", expected="at least 1 device")
    if device.n_devices != 1 or device.domains:
        raise BadInput(f"device {spec.device!r} is itself a system", expected="the id of a single device")
    facts = _Facts(spec.grade, spec.sources)
    domains = _domains(spec.domains, facts, (), "scale_up")
    if spec.count > 1 and (not domains or domains[-1].size < spec.count):
        size = domains[-1].size if domains else 0
        raise BadInput(f"count is {spec.count}, but the domains join {size}", expected="a domain that holds them all")
    for t in spec.host_tiers:
        _one_of(t.role, SHARED_ROLES, f"host_tiers.{t.name}.role")
    _distinct([*(t.name for t in device.tiers), *(t.name for t in spec.host_tiers)], "memory tier")
    _distinct([*(k.name for k in device.links), *(k.name for k in spec.links)], "link")
    host = tuple(_tier(t, facts, "gpu") for t in spec.host_tiers)
    links = _links(spec.links, facts)
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
        release_year=_year(spec.release_year) or device.release_year,
        price=_price(spec.price) if spec.price else device.price,
        facts=MappingProxyType({**device.facts, **facts.facts}),
        notes=device.notes + tuple(spec.notes),
    )


def _domains(specs: list[DomainSpec], facts: _Facts, inner: tuple[Domain, ...], role: str) -> list[Domain]:
    """Domains around those that are there, each at least as large as the one inside it."""
    domains: list[Domain] = []
    _distinct([*(d.name for d in inner), *(d.name for d in specs)], "domain")
    for d in specs:
        path = f"domains.{d.name}"
        for value, allowed, field in (
            (d.topology, TOPOLOGIES, "topology"), (d.routing, ROUTINGS, "routing"), (d.duplex, DUPLEX, "duplex"),
        ):  # fmt: skip
            _one_of(value, allowed, f"{path}.{field}")
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
                oversubscription=_ratio(d.oversubscription, facts, f"{path}.oversubscription", 1.0),
                sharers=_ratio(d.sharers, facts, f"{path}.sharers", 1.0),
                loss=_part(d.loss, facts, f"{path}.loss", 0.0),
                availability=_part(d.availability, facts, f"{path}.availability", 1.0),
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


def _ratio(figure: Figure | None, facts: _Facts, path: str, default: float) -> float:
    """A figure of at least 1, or the default, which claims nothing."""
    value = default if figure is None else facts.read(figure, "", path)
    if value < 1:
        raise BadInput(f"{path} is {value:g}", expected="at least 1")
    return value


def _part(figure: Figure | None, facts: _Facts, path: str, default: float) -> float:
    """A share between 0 and 1; nothing gets through where all is lost or the link is never there."""
    value = default if figure is None else facts.read(figure, "", path, zero=True)
    if not 0 <= value <= 1 or (value == 1 - default):
        raise BadInput(f"{path} is {value:g}", expected="0 to 1, and a link that carries something")
    return value


def _cluster(spec: ClusterSpec, load: Callable[[str], Machine]) -> Machine:
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
    facts = _Facts(spec.grade, spec.sources)
    network = _domains(spec.network, facts, box.domains, "scale_out")
    if network and network[-1].size < nodes * box.n_devices:
        raise BadInput(
            f"{nodes} nodes of {box.n_devices}, but the network joins {network[-1].size} devices",
            expected=f"an outermost size of {nodes * box.n_devices}",
        )
    for t in spec.host_tiers:
        _one_of(t.role, SHARED_ROLES, f"host_tiers.{t.name}.role")
    _distinct([*(t.name for t in box.tiers), *(t.name for t in spec.host_tiers)], "memory tier")
    joined = cluster(box, nodes, network, spec.id)
    return dataclasses.replace(
        joined,
        name=spec.name,
        id=spec.id,
        release_year=_year(spec.release_year) or box.release_year,
        price=_price(spec.price) if spec.price else box.price,
        tiers=box.tiers + tuple(_tier(t, facts, box.kind) for t in spec.host_tiers),
        facts=MappingProxyType({**joined.facts, **facts.facts}),
        notes=box.notes + tuple(spec.notes),
    )


def _calibrated(spec: CalibratedSpec, base: Machine) -> Machine:
    """The machine under its own id, with its calibrations; they replace those it had for the same family and framework."""
    if not spec.id:
        raise BadInput("id is empty", expected="a name like my-h100")
    own: dict[tuple[str, str], LocalCalibration] = {}
    for item in spec.calibration:
        place = (item.family, item.framework)
        if place in own:
            raise BadInput(f"calibration of {' / '.join(place)} is stated twice", expected="one for each")
        own[place] = local_calibration(item)
    kept = tuple(c for c in base.calibrations if (c.family, c.framework) not in own)
    return dataclasses.replace(base, id=spec.id, calibrations=(*kept, *own.values()))


def local_calibration(spec: LocalCalibrationSpec) -> LocalCalibration:
    """One calibration, its numbers checked."""
    path = f"calibration.{spec.family}"
    low, high = spec.interval
    for term, factor in spec.factors.items():
        if not (math.isfinite(factor) and factor > 0):
            raise BadInput(f"{path}.factors.{term} is {factor:g}", expected="a positive number")
    if not (0 < low <= 1 <= high < math.inf):
        raise BadInput(f"{path}.interval is [{low:g}, {high:g}]", expected="factors below and above 1, like [0.9, 1.1]")
    for name, value in spec.seconds.items():
        if not 0 <= value < 1:
            raise BadInput(f"{path}.seconds.{name} is {value:g}", expected="a time below a second")
    if spec.points < 1:
        raise BadInput(f"{path}.points is {spec.points}", expected="at least 1")
    before, after = (PointErrors(e.median_ape, e.mape) for e in (spec.before, spec.after))
    return LocalCalibration(
        spec.family,
        spec.framework,
        tuple(spec.factors.items()),
        spec.points,
        spec.date,
        before,
        after,
        (low, high),
        spec.source,
        tuple(_curve(c, f"{path}.curves.{number}") for number, c in enumerate(spec.curves)),
        tuple(spec.seconds.items()),
    )


MOST_NODES = 4096  # of a curve; those that calibrate writes have some tens
STEEPEST = 12.0  # log of a factor


def _curve(spec: CurveSpec, path: str) -> Curve:
    """One curve: as many values as its axes have nodes, all of them numbers a factor can have."""
    nodes = 1
    for coord, low, high, step in spec.axes:
        if not (
            all(map(math.isfinite, (low, high, step))) and step > 0 and low < high and (high - low) / step < MOST_NODES
        ):
            raise BadInput(f"{path} has the axis {coord} from {low:g} to {high:g} by {step:g}", expected="rising nodes")
        nodes *= round((high - low) / step) + 1
    if not spec.axes or nodes > MOST_NODES or len(spec.values) != nodes:
        raise BadInput(
            f"{path} has {len(spec.values)} values for {nodes} nodes", expected=f"as many, at most {MOST_NODES}"
        )
    if not all(abs(value) <= STEEPEST for value in spec.values):
        raise BadInput(f"{path} has values beyond ±{STEEPEST:g}", expected="logarithms of factors")
    return Curve(spec.sort, spec.term, tuple(spec.of.items()), tuple(spec.axes), tuple(spec.values))


def _price(spec: PriceSpec | None) -> Price:
    if spec is None:
        return Price()
    if not spec.usd_per_hour >= 0 or not math.isfinite(spec.usd_per_hour):
        raise BadInput(f"price.usd_per_hour is {spec.usd_per_hour:g}", expected="dollars an hour and device")
    return Price(spec.usd_per_hour, spec.date, spec.source)
