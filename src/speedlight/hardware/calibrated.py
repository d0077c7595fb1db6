"""Machine files of the third sort: what ``speedlight calibrate`` reads, merges and writes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from .._foundation.errors import BadInput
from .._foundation.files import parse_json, parse_yaml, read_text, write_atomically
from .catalogue import load_machine
from .load import read_spec
from .machine import LocalCalibration, Machine
from .spec import SCHEMA_VERSION, CalibratedSpec, CurveSpec, LocalCalibrationSpec, PointErrorsSpec

DIGITS = 5  # significant digits of what is written: far below the noise of any measurement


def base_of(on: str) -> str:
    """The machine a calibration is layered over: the one named, or the one a calibrated file names."""
    if not on.endswith((".yaml", ".yml", ".json")):
        return on if on == "here" else load_machine(on).id
    spec = _read(Path(on))
    if not isinstance(spec, CalibratedSpec):
        return on
    beside = Path(on).parent / spec.machine
    return base_of(str(beside)) if spec.machine.endswith((".yaml", ".yml", ".json")) else base_of(spec.machine)


def calibrated_file(path: Path, base: str) -> CalibratedSpec | None:
    """What a file to be written holds already, or None where it is yet to be made.

    Raises:
        BadInput: if the file is of another machine, or no machine file that was written here.
    """
    if not path.exists():
        return None
    old = _read(path)
    if not isinstance(old, CalibratedSpec):
        raise BadInput(f"{path} is a machine of its own", expected="a new file, or one that calibrate wrote")
    own = base_of(str(path))
    if own != base and not (os.path.exists(own) and os.path.exists(base) and os.path.samefile(own, base)):
        raise BadInput(f"{path} calibrates {old.machine}, not {base}", hint="give --out another name")
    return old


def write_calibrations(path: Path, base: str, machine: Machine, found: Iterable[LocalCalibration]) -> Path:
    """Write a calibrated machine; entries the file has for other families and frameworks are kept.

    Args:
        path: the file; made, or merged into (:func:`calibrated_file`).
        base: id or path of the machine the calibrations are layered over (:func:`base_of`).
        machine: that machine, with the calibrations it was loaded with, which are kept likewise.
        found: the new ones.
    """
    import yaml

    own = {(c.family, c.framework): _spec(c) for c in machine.calibrations}
    named = f"{machine.device_id}-calibrated"
    old = calibrated_file(path, base)
    if old is not None:
        named = old.id
        own |= {(c.family, c.framework): c for c in old.calibration}
    own |= {(c.family, c.framework): _spec(c) for c in found}
    entries = [own[place] for place in sorted(own)]
    reference = os.path.relpath(base, path.parent) if base.endswith((".yaml", ".yml", ".json")) else base
    data = {"schema": SCHEMA_VERSION, "sort": "calibrated", "id": named, "machine": reference}
    text = yaml.safe_dump({**data, "calibration": [_plain(e) for e in entries]}, sort_keys=False, allow_unicode=True)
    write_atomically(path, text)
    return path


def _read(path: Path) -> object:
    text = read_text(path, "machine", limit=2**20)
    data = parse_json(text, str(path)) if path.suffix == ".json" else parse_yaml(text, str(path))
    return read_spec(data, str(path))


def _spec(own: LocalCalibration) -> LocalCalibrationSpec:
    before, after = (PointErrorsSpec(_short(e.median_ape), _short(e.mape)) for e in (own.before, own.after))
    return LocalCalibrationSpec(
        own.family, own.framework, {t: _short(f) for t, f in own.factors}, own.points, own.date, before, after,
        (_short(own.interval[0]), _short(own.interval[1])), own.source,
        [CurveSpec(c.sort, c.term, list(c.axes), [round(v, 3) for v in c.values], dict(c.of)) for c in own.curves],
        {name: _short(value) for name, value in own.seconds},
    )  # fmt: skip


def _plain(entry: LocalCalibrationSpec) -> dict[str, object]:
    data: dict[str, object] = msgspec.to_builtins(entry)
    curves = [{**c, "axes": [list(axis) for axis in c["axes"]]} for c in data.pop("curves")]  # type: ignore[attr-defined]
    seconds = data.pop("seconds")
    more = {name: value for name, value in (("seconds", seconds), ("curves", curves)) if value}
    return {**data, "interval": list(entry.interval), **more}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
