"""Machine files → :class:`Machine`: units parsed, pedigree kept, nonsense refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from .._foundation.errors import BadFile, BadInput, nearest
from .devices import device
from .joined import cluster_of, system
from .local_calibrations import calibrated
from .machine import Machine
from .spec import (
    SCHEMA_VERSION,
    CalibratedSpec,
    ClusterSpec,
    DeviceSpec,
    DomainSpec,
    EngineSpec,
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
            return device(spec)
        if isinstance(spec, CalibratedSpec):
            return calibrated(spec, device_by_id(spec.machine))
        if isinstance(spec, ClusterSpec):
            return cluster_of(spec, device_by_id)
        return system(spec, device_by_id(spec.device))
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
