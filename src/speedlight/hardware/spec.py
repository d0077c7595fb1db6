"""The machine file: YAML that people write, validated, with units and pedigree on every figure.

A figure is a number in SI, a string with a unit (``3.35 TB/s``, ``80 GB``), or a record::

    bandwidth: {value: 3.35 TB/s, grade: datasheet, source: nv-h100}

``source`` is a key of the file's ``sources`` or free text; a figure that names none takes the file's source where
there is exactly one. A figure without a grade has the file's ``grade`` (default ``assumed``: a number nobody vouches
for). ``derive`` on a peak states the arithmetic that gives the published rate back (``units * 4096 * clock``, in FLOP
per clock and unit, or with a literal clock where a peak is stated at another than the boost clock); the loader evaluates it
and refuses a file that is off by 2 %.

Conventions of the shipped files: capacity is the vendor's decimal figure (80 GB = 80e9 B; drivers report a little
more), bandwidth decimal, link rates per direction and device, peaks dense and per accumulator. What cannot be found is
left out or graded ``assumed``, never 0.

Files of four sorts: a *device*, a *system* (``device`` + ``count`` + ``domains``), a *cluster* (``system`` + ``nodes``), and a
*calibrated* machine (another machine with what its owner measured, written by ``speedlight calibrate``). ``json_schema()``
publishes all.
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA_VERSION = 1


class FigureSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A figure with its pedigree; ``note`` is appended to the source wherever the figure is shown."""

    value: float | str
    grade: str | None = None
    source: str = ""
    note: str = ""


Figure = float | str | FigureSpec


class PeakSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A dense peak; ``sparse`` only where the vendor states a structured-sparsity rate."""

    unit: str
    format: str
    flops: Figure
    accumulate: str = "fp32"
    sparse: Figure | None = None
    derive: str | None = None


class EngineSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Equal execution units (:class:`~speedlight.hardware.machine.Engine`); the first engine of a file computes."""

    name: str
    kind: str
    units: Figure
    clock: Figure
    peaks: list[PeakSpec]
    tiles: list[tuple[int, int]] = []
    launch_latency: Figure | None = None
    fill: Figure | None = None


class TierSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One memory, small before large; exactly one has the role ``main``."""

    name: str
    role: str
    capacity: Figure
    bandwidth: Figure
    latency: Figure | None = None
    granule: Figure | None = None
    outstanding: Figure | None = None
    energy_per_byte: Figure | None = None


class LinkSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A port of one device, bytes/s per direction; ``grid`` and ``wrap`` where devices form a torus by it.

    ``sharers`` devices have one port between them (its rate is stated per device); ``ordered`` as of a domain.
    """

    name: str
    role: str
    bandwidth: Figure
    latency: Figure | None = None
    grid: int = 0
    wrap: int = 1
    ordered: bool = True
    sharers: Figure | None = None


class DomainSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Devices joined by one sort of link, innermost domain first; bytes/s per direction and device.

    What the further fields mean: :class:`~speedlight.hardware.machine.Domain`.
    """

    name: str
    topology: str
    size: int
    bandwidth: Figure
    latency: Figure | None = None
    shape: list[int] = []
    leaf: int = 0
    oversubscription: Figure | None = None
    uplinks: int = 0
    routing: str = "planned"
    sharers: Figure | None = None
    reduces: bool = False
    duplex: str = "full"
    ordered: bool = True
    loss: Figure | None = None
    availability: Figure | None = None


class PriceSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Dollars an hour and device, with the day and the place it was read."""

    usd_per_hour: float
    date: str
    source: str


class DeviceSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="device", tag_field="sort"):
    """One device.

    ``aliases`` are further names people type; ``device_strings`` what drivers and ``/proc/cpuinfo`` report;
    ``table_names`` what measurement tables call it. The last may be ambiguous to a person (``H100``) and count only
    when a table is read.
    """

    schema: int
    id: str
    name: str
    vendor: str
    kind: str
    engines: list[EngineSpec]
    tiers: list[TierSpec]
    architecture: str = ""
    release_year: int | None = None
    execution: str = "temporal"
    grade: str = "assumed"
    sources: dict[str, str] = {}
    aliases: list[str] = []
    device_strings: list[str] = []
    table_names: list[str] = []
    links: list[LinkSpec] = []
    tdp: Figure | None = None
    price: PriceSpec | None = None
    notes: list[str] = []


class SystemSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="system", tag_field="sort"):
    """Several equal devices of a box or rack.

    ``links`` are ports the box adds to each device (its share of the network cards); ``host_tiers`` belong to the whole
    box: memory, disks or remote stores that its devices share.
    """

    schema: int
    id: str
    name: str
    device: str
    count: int
    domains: list[DomainSpec]
    vendor: str = ""
    release_year: int | None = None
    grade: str = "assumed"
    sources: dict[str, str] = {}
    aliases: list[str] = []
    table_names: list[str] = []
    links: list[LinkSpec] = []
    host_tiers: list[TierSpec] = []
    node_power: Figure | None = None
    price: PriceSpec | None = None
    notes: list[str] = []


class PartSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """So many boxes of one sort in a cluster of unequal ones."""

    system: str
    nodes: int


class ClusterSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="cluster", tag_field="sort"):
    """Several boxes: ``system`` (an id or a path beside this file, a system or a lone device) and ``nodes``, or ``parts`` of several
    sorts.

    ``network`` are the domains that join them, innermost first, their ``size`` in devices; left out, the box's ``scale_out``
    link joins them in a fat tree that never blocks.
    """

    schema: int
    id: str
    name: str
    system: str = ""
    nodes: int = 0
    parts: list[PartSpec] = []
    network: list[DomainSpec] = []
    grade: str = "assumed"
    sources: dict[str, str] = {}
    release_year: int | None = None
    aliases: list[str] = []
    table_names: list[str] = []
    host_tiers: list[TierSpec] = []
    price: PriceSpec | None = None
    notes: list[str] = []


class PointErrorsSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Errors as fractions."""

    median_ape: float
    mape: float


class CurveSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A table of factors (:class:`~speedlight.hardware.machine.Curve`): logs of them, a value a node."""

    sort: str
    term: str
    axes: list[tuple[str, float, float, float]]
    values: list[float]
    of: dict[str, str] = {}


class LocalCalibrationSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Factors on a cost family's terms (:class:`~speedlight.hardware.machine.LocalCalibration`); their grade is fitted."""

    family: str
    framework: str
    factors: dict[str, float]
    points: int
    date: str
    before: PointErrorsSpec
    after: PointErrorsSpec
    interval: tuple[float, float]
    source: str = ""
    curves: list[CurveSpec] = []
    seconds: dict[str, float] = {}


class CalibratedSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="calibrated", tag_field="sort"):
    """A machine (by id, or by a path beside this file) and the calibrations its owner's measurements gave."""

    schema: int
    id: str
    machine: str
    calibration: list[LocalCalibrationSpec]


MachineSpec = DeviceSpec | SystemSpec | ClusterSpec | CalibratedSpec


def json_schema() -> dict[str, Any]:
    """JSON schema of a machine file (published in the docs and by ``speedlight devices --schema``)."""
    return msgspec.json.schema(MachineSpec)
