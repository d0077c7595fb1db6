"""What a machine is: engines with peaks, memory tiers, links, and how devices are joined.

All figures are SI and may be NumPy arrays (DESIGN decision 1): a sweep over bandwidth is a machine whose main tier's
``bandwidth`` is an array. Nothing here is GPU-shaped: an SM array, a CPU's cores, a systolic array and an in-memory
unit are engines; HBM, a laptop's LPDDR and an NVMe disk are tiers (DESIGN decision 6).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .._foundation.errors import BadInput
from .._foundation.formats import dense_of, is_sparse
from .._foundation.provenance import Assumption, Fact
from .paths import changed_at, check_figure, named, replaced, scale_peak, times

Value = Any  # float or numpy array

# Where work goes when an engine has no peak for its format: the next wider format that holds its values.
WIDER = {
    "fp4": "fp8", "fp6": "fp8", "fp8": "bf16", "int4": "int8", "int8": "bf16", "bf16": "fp16", "fp16": "fp32",
    "tf32": "fp32", "fp32": "fp64", "int16": "int32", "int32": "fp32", "int64": "int32",
}  # fmt: skip

# NVSwitch reduces in the switch (NVLink SHARP) from its third generation on, the one of Hopper: NVIDIA H100 whitepaper,
# "NVLink Switch System". A file of a system says so itself; this is for boxes made up around a lone device.
REDUCING = ("Hopper", "Blackwell")


@dataclass(frozen=True, slots=True)
class Peak:
    """A dense rate of one engine for one unit, number format and accumulator.

    Attributes:
        unit: ``matmul``, ``vector`` or ``transcendental`` (an open vocabulary).
        format: the multiplier's number format (``bf16``, ``fp8`` …).
        accumulate: the accumulator's format; RTX cards halve their rate with fp32 accumulation.
        flops: FLOP/s as stated; one multiply-add is 2.
        sparse_flops: rate with structured sparsity where the unit has it, else None.
        grade: pedigree of ``flops``.
    """

    unit: str
    format: str
    accumulate: str
    flops: Value
    sparse_flops: Value | None = None
    grade: str = "assumed"


@dataclass(frozen=True, slots=True)
class Engine:
    """A set of equal execution units sharing one clock.

    Attributes:
        name: ``sm``, ``cu``, ``cores``, ``mxu`` …
        kind: ``simt`` (GPU-like), ``cores`` (CPU), ``systolic``, ``dataflow``, ``in-memory``.
        units: how many units; output tiles are dealt to them in waves.
        clock_hz: the boost clock, which units hold where power does not limit them. Tensor peaks may be stated at a lower one.
        peaks: rates of all units together.
        tiles: output tiles (rows, columns) a unit's matrix kernels work in; empty means tiles cost nothing.
        launch_latency_s: time from the start of a kernel to its first useful work, plus draining: the launch floor. Of a spatial
            machine: of a region.
        fill_s: of a spatial machine, seconds from an op's first input to its first result: how deep its pipeline is, or how
            far it reaches across a mesh.
    """

    name: str
    kind: str
    units: Value
    clock_hz: Value
    peaks: tuple[Peak, ...]
    tiles: tuple[tuple[int, int], ...] = ()
    launch_latency_s: Value = 0.0
    fill_s: Value = 0.0

    def peak(self, unit: str, number_format: str, accumulate: str | None = None) -> tuple[Peak, tuple[str, ...]]:
        """The peak that work of this format runs at, and the formats that had to be widened on the way.

        Without ``accumulate``, an fp32 (int32) accumulator is preferred, as frameworks run by default.
        An engine without a matrix unit multiplies on its vector unit. Of a format with two of every four values left out
        (``fp16_2of4``) the rate is that of the products that are left: half the structured-sparse rate, which spec sheets
        count with the zeros; half the dense one where the unit cannot skip and weights are filled up again.
        """
        if is_sparse(number_format):
            found_peak, widened_formats = self.peak(unit, dense_of(number_format), accumulate)
            skips = unit == found_peak.unit == "matmul" and found_peak.sparse_flops is not None
            rate = found_peak.sparse_flops if skips else found_peak.flops
            assert rate is not None
            return dataclasses.replace(found_peak, flops=rate / 2, sparse_flops=None), widened_formats
        widened: list[str] = []
        current = number_format
        while True:
            for candidate_unit in (unit, "vector") if unit in ("matmul", "transcendental") else (unit,):
                found = [p for p in self.peaks if p.unit == candidate_unit and p.format == current]
                if accumulate:
                    found = [p for p in found if p.accumulate == accumulate] or found
                if found:
                    wide = [p for p in found if p.accumulate in ("fp32", "int32", "fp64")]
                    return (wide or found)[0], tuple(widened)
            if current not in WIDER:
                raise BadInput(
                    f"engine {self.name!r} states no {unit} peak that {number_format} could use",
                    expected=f"a peak for {number_format} or a wider format",
                    hint="add one to the machine's spec file",
                )
            widened.append(current)
            current = WIDER[current]


@dataclass(frozen=True, slots=True)
class Tier:
    """One level of memory as its engine sees it.

    Attributes:
        name: ``l2``, ``hbm``, ``dram``, ``nvme`` …
        role: ``registers``, ``sram`` (scratchpad), ``cache``, ``main``, ``host``, ``storage`` or ``remote``.
        capacity_bytes: total, over all units.
        bandwidth: bytes/s, total; reads and writes share it.
        latency_s: load-to-use.
        granule_bytes: smallest transfer (sector, line, page).
        outstanding_bytes: bytes that can be in flight; with the latency it caps what small requests reach.
        energy_per_byte: joules, or None where unknown.
        resource: the name its busy time is booked under (CONTRACT's ``bound`` vocabulary).
    """

    name: str
    role: str
    capacity_bytes: Value
    bandwidth: Value
    latency_s: Value = 0.0
    granule_bytes: Value = 64.0
    outstanding_bytes: Value | None = None
    energy_per_byte: Value | None = None
    resource: str = "hbm"


@dataclass(frozen=True, slots=True)
class Link:
    """A port of one device.

    Attributes:
        name: ``nvlink4``, ``pcie5`` …
        role: ``scale_up`` (between devices of a box or rack), ``scale_out`` (between boxes), ``host``.
        bandwidth: bytes/s per direction and device.
        latency_s: one way, per message.
        grid: dimensions of the torus that several devices form by it; 0 where they meet on a switch or a bus.
        wrap: least side that closes to a ring.
        ordered, sharers: as of a :class:`Domain`.
    """

    name: str
    role: str
    bandwidth: Value
    latency_s: Value = 0.0
    grid: int = 0
    wrap: int = 1
    ordered: bool = True
    sharers: Value = 1.0


@dataclass(frozen=True, slots=True)
class Domain:
    """A set of devices that reach each other over one kind of link; domains nest, innermost first.

    Attributes:
        name: the link's resource name (``nvlink`` books its time as ``link:nvlink``).
        topology: ``switch``, ``full-mesh``, ``ring``, ``torus``, ``mesh``, ``fat-tree``, ``tree`` (a host's bus), ``cube-mesh``,
            ``shared`` (one medium for all: radio, a bus).
        size: devices in the domain.
        bandwidth: bytes/s per direction and device, when every device sends; of a grid over all its dimensions.
        latency_s: one way, per message.
        role: ``scale_up`` inside a box or rack, ``scale_out`` between them.
        shape: sides of a torus or mesh, innermost first, in sets of the domain inside; empty elsewhere.
        leaf: devices below one leaf switch of a fat tree (or one root of a tree of buses); 0 where one switch joins all.
        oversubscription: ports of a leaf's devices over its uplinks.
        uplinks: links of a leaf towards the spine; 0 for as many as keep that ratio at the ports' rate.
        routing: how flows find their uplink: ``hashed`` (the busiest gets more than its share), ``sprayed`` or ``planned``.
        sharers: devices that share a port, all of whose rate one of them gets when the others are silent.
        reduces: whether its switches add up what passes (NVLink SHARP, InfiniBand SHARP).
        duplex: ``full``, or ``half`` where both directions take turns.
        ordered: whether bytes arrive in the order they were sent: protocols that send flags beside data need it (NCCL's LL and
            LL128; EFA's packets overtake one another, so that only Simple runs on it).
        loss: share of packets lost and sent again.
        availability: share of the time it is there.
    """

    name: str
    topology: str
    size: Value
    bandwidth: Value
    latency_s: Value = 0.0
    role: str = "scale_up"
    shape: tuple[Value, ...] = ()
    leaf: Value = 0.0
    oversubscription: Value = 1.0
    uplinks: Value = 0.0
    routing: str = "planned"
    sharers: Value = 1.0
    reduces: bool = False
    duplex: str = "full"
    ordered: bool = True
    loss: Value = 0.0
    availability: Value = 1.0


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour of one device costs, when and by whom; None where nobody said."""

    usd_per_hour: Value | None = None
    date: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Clocks relative to the spec sheet's, and a power limit. Every field broadcasts."""

    core_clock: Value = 1.0
    memory_clock: Value = 1.0
    fabric_clock: Value = 1.0
    power_w: Value | None = None


@dataclass(frozen=True, slots=True)
class PointErrors:
    """Errors of predictions of measured points, as fractions."""

    median_ape: float
    mape: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A table of a local calibration: how one term of a sort of kernels runs over their sizes.

    Attributes:
        sort: of kernels (``conv``, ``product``, ``stream`` …).
        term: whose seconds it bends, or ``total``.
        of: (key field, value) it holds for, as (``op``, ``gelu``); () for all kernels of the sort.
        axes: (coordinate, first node, last node, step); beyond the ends the last value holds.
        values: logs of factors, a value a node, the last axis running fastest.
    """

    sort: str
    term: str
    of: tuple[tuple[str, str], ...]
    axes: tuple[tuple[str, float, float, float], ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LocalCalibration:
    """What a user's own points of this very device say of one cost family, layered over what ships (DESIGN decision 3).

    Attributes:
        family: cost family (``gemm`` …).
        framework: library whose kernels were measured; "" holds for any library that has no calibration of its own.
        factors: (term, factor); a term's seconds are multiplied by its factor, the whole time by that of ``total``.
        points: how many measurements it rests on.
        date: when it was fitted.
        before, after: errors of the points without it, and with one that did not see the point.
        interval: factors from a predicted time to the ends of its 80 % interval.
        source: the table of the points.
        curves: factors that depend on sizes and sort, where single operators were measured; see
            :mod:`speedlight.costs.families.module_here`.
        seconds: (name, value) of what such measurements tell beside kernels: ``dispatch``, an operator's on the host; ``page``,
            of memory that is new from the system.
    """

    family: str
    framework: str
    factors: tuple[tuple[str, float], ...]
    points: int
    date: str
    before: PointErrors
    after: PointErrors
    interval: tuple[float, float]
    source: str = ""
    curves: tuple[Curve, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()

    def second(self, name: str) -> float | None:
        """One of ``seconds``."""
        return dict(self.seconds).get(name)


@dataclass(frozen=True, slots=True)
class Part:
    """So many boxes of one sort in a cluster of unequal ones."""

    machine: Machine
    nodes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, or several equal ones joined by domains; frozen, every figure with its pedigree in ``facts``.

    Attributes:
        n_devices: devices in the machine.
        execution: ``temporal`` (kernel after kernel through memory) or ``spatial``.
        domains: innermost first; empty for a lone device that has no scale-up link.
        facts: pedigree by dotted path (``tiers.hbm.bandwidth``).
        notes: what the spec file wants said in every answer.
        calibrations: what the user's own measurements of it say (``speedlight calibrate``).
        parts: boxes of a cluster of unequal ones, whose weakest common machine this is (:mod:`.mixed`); empty for equal ones.
    """

    id: str
    name: str
    vendor: str
    kind: str
    device_id: str
    n_devices: int
    engines: tuple[Engine, ...]
    tiers: tuple[Tier, ...]
    links: tuple[Link, ...] = ()
    domains: tuple[Domain, ...] = ()
    execution: str = "temporal"
    architecture: str = ""
    release_year: int | None = None
    tdp_w: Value | None = None
    price: Price = Price()
    device_strings: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    notes: tuple[str, ...] = ()
    calibrations: tuple[LocalCalibration, ...] = ()
    parts: tuple[Part, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Pickling for worker processes: a read-only mapping does not pickle, a plain one does."""
        state = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**state, "facts": dict(self.facts)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The other half of :meth:`__getstate__`."""
        for name, value in {**state, "facts": MappingProxyType(state["facts"])}.items():
            object.__setattr__(self, name, value)

    @property
    def engine(self) -> Engine:
        """The engine that computes unless a placement or stack rule says otherwise: the first."""
        return self.engines[0]

    @property
    def main(self) -> Tier:
        """The tier that holds weights and activations by default."""
        return next(t for t in self.tiers if t.role == "main")

    @property
    def box(self) -> Value:
        """Devices that reach each other without leaving the box or rack."""
        inside = [d.size for d in self.domains if d.role == "scale_up"]
        return inside[-1] if inside else 1

    @property
    def last_cache(self) -> Tier | None:
        """The largest on-chip tier before main memory, if any."""
        caches = [t for t in self.tiers if t.role in ("cache", "sram")]
        return caches[-1] if caches else None

    def tier(self, name: str) -> Tier:
        """The memory of that name.

        Raises:
            BadInput: naming those there are.
        """
        found: Tier = named(self.tiers, name, "memory tier")
        return found

    def assumptions(self, paths: tuple[str, ...] = ()) -> list[Assumption]:
        """Figures graded ``assumed`` (all, or those under ``paths``), as answers must list them."""
        found = []
        for path, fact in self.facts.items():
            if fact.grade == "assumed" and (not paths or path.startswith(paths)):
                found.append(Assumption(f"{self.device_id} {path}", fact.value, "assumed", fact.source))
        return found

    def with_values(self, values: Mapping[str, Value], grade: str | None = None) -> Machine:
        """A copy with figures replaced by dotted path, e.g. ``{"tiers.hbm.bandwidth": 4.8e12}``.

        Peaks are named ``engines.sm.peaks.matmul.bf16`` (all accumulators), ``engines.sm.peaks.matmul.bf16.fp32`` (one)
        or ``engines.sm.peaks`` (a factor on all). A sparse rate keeps its ratio to the dense one.

        Args:
            values: path → number or array, in SI.
            grade: pedigree of the new figures (``measured``, ``assumed`` …); without it the old pedigree stays, as for
                a sensitivity.

        Raises:
            BadInput: for a path this machine has not, or a value that is negative or not finite.
        """
        machine = self
        for path, value in values.items():
            check_figure(path, value)
            machine = replaced(machine, path.split("."), value, path)
        if grade:
            facts = {**self.facts, **{p: Fact(v, grade, "stated with the question") for p, v in values.items()}}  # type: ignore[arg-type]
            machine = dataclasses.replace(machine, facts=MappingProxyType(facts))
        return machine

    def scaled(self, path: str, factor: Value) -> Machine:
        """A copy with one figure multiplied; ``peaks`` means all peaks of all engines, ``links`` all links and domains.

        Args:
            path: as for :meth:`with_values`.
            factor: number or array, at least 0.

        Raises:
            BadInput: for a path this machine has not, or a factor that is negative or not finite.
        """
        check_figure(path, factor)
        if path == "links":
            domains = tuple(dataclasses.replace(d, bandwidth=d.bandwidth * factor) for d in self.domains)
            links = tuple(dataclasses.replace(k, bandwidth=k.bandwidth * factor) for k in self.links)
            return dataclasses.replace(self, domains=domains, links=links)
        if path == "peaks":
            engines = tuple(
                dataclasses.replace(e, peaks=tuple(scale_peak(p, factor) for p in e.peaks)) for e in self.engines
            )
            return dataclasses.replace(self, engines=engines)
        return changed_at(self, path.split("."), lambda current: times(current, factor, path), path)  # type: ignore[no-any-return]
