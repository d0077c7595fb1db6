"""Whole float32 models with a device left out: the fit of their kernels is made without it, then the models are predicted.

Intervals of what is left out rest on the errors of the others: quantiles of measured over predicted, every device counting alike.

The kernels' table has to lie beside the models' (``../kernels/torch_fp32_ops.parquet``) or in the data folder. A device that
the kernels' table lacks is predicted by the fit that ships, which never saw it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import numpy as np

from .._foundation.errors import BadFile, BadInput, MissingDependency, SpeedlightError
from ..costs.calibration.model import Fit
from ..costs.calibration.samples import TABLES, as_floats
from ..costs.calibration.store import instead
from ..evidence.tables import Table, read_table
from ..hardware.catalogue import load_machine
from .suite import Columns, Outcome, Predicted, Progress
from .suites import fp32_models


def without_devices(table: Table, inputs: Columns, leave: Sequence[str], progress: Progress) -> Predicted:
    """Every row of the devices named (all when none is) by a fit of kernels that saw none of its device's.

    Raises:
        BadInput: for a device that no row has.
        BadFile: if the kernels' table is nowhere to be found.
        MissingDependency: without the extra ``fit``.
    """
    device = devices_of(inputs, table.rows)
    wanted = [device_named(name) for name in leave]
    present = sorted(set(device.tolist()) - {""})
    for name, own in zip(leave, wanted, strict=True):
        if own not in present:
            raise BadInput(f"--leave {name}: no row is of that device", expected="one of " + ", ".join(present))
    fits = fits_without(kernels_beside(table.path), progress)
    whole = fp32_models.predicted(inputs, device == "")
    for name in present:
        with instead(fits[name]) if name in fits else nullcontext():
            found = fp32_models.predicted(inputs, device == name, without=name)
        whole = joined(whole, found, device == name)
    whole = with_ends(table, whole, device)
    header = {
        "id": f"{fp32_models.TABLE}, refitted without each device", "date": date.today().isoformat(), "tables": [],
        "cross_validation": [],
    }  # fmt: skip
    whole = dataclasses.replace(whole, fits=dict.fromkeys(fp32_models.COLUMNS, header))
    return whole if not wanted else only(whole, np.isin(device, [*wanted, ""]))


def without_models(table: Table, inputs: Columns) -> Predicted:
    """Every row by the fit that ships, its interval by the errors of other models: nothing else is fitted to models."""
    names = np.array([str(m) for m in inputs["model"][: table.rows]], dtype=object)
    return with_ends(table, fp32_models.predict(inputs, table.rows), names)


def with_ends(table: Table, found: Predicted, label: np.ndarray) -> Predicted:
    """Intervals of the rows of each label by the errors of all others; the step's errors serve its forward pass too."""
    column = fp32_models.COLUMNS[0]
    if column not in table:
        return found
    with np.errstate(all="ignore"):
        error = np.log(as_floats(table.columns[column]) / found.outcomes[column].predicted)
    outcomes = {}
    for name, o in found.outcomes.items():
        low, high = o.low.copy(), o.high.copy()
        for value in set(label.tolist()):
            mine, others = label == value, (label != value) & np.isfinite(error)
            if others.any():
                down, up = ends(error[others], label[others])
                least = np.minimum(o.limit[mine], o.predicted[mine])
                low[mine] = np.maximum(o.predicted[mine] * np.exp(min(down, 0.0)), least)
                high[mine] = o.predicted[mine] * np.exp(max(up, 0.0))
        outcomes[name] = dataclasses.replace(o, low=low, high=high)
    return dataclasses.replace(found, outcomes=outcomes)


def ends(error: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """10 % and 90 % quantiles where every label counts alike: a new device is one more device, not one more row."""
    _, inverse, sizes = np.unique(label.astype(str), return_inverse=True, return_counts=True)
    weight = 1.0 / sizes[inverse]
    order = np.argsort(error)
    passed = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    low, high = np.interp([0.1, 0.9], passed, error[order])
    return float(low), float(high)


def only(found: Predicted, rows: np.ndarray) -> Predicted:
    """Some rows; the others are out of scope."""
    outcomes = {
        name: Outcome(*(np.where(rows, getattr(o, w), np.nan) for w in ("predicted", "limit", "low", "high")))
        for name, o in found.outcomes.items()
    }  # fmt: skip
    status, layer = found.status.copy(), found.layer.copy()
    status[~rows], layer[~rows] = fp32_models.NOT_LEFT_OUT, None
    return dataclasses.replace(found, outcomes=outcomes, status=status, layer=layer)


def joined(one: Predicted, other: Predicted, rows: np.ndarray) -> Predicted:
    """The first with some rows of the second."""
    outcomes = {
        name: Outcome(*(np.where(rows, getattr(other.outcomes[name], w), getattr(o, w)) for w in ("predicted", "limit", "low", "high")))
        for name, o in one.outcomes.items()
    }  # fmt: skip
    shift = len(one.classes)
    kind = one.kind if one.kind is not None else np.full(rows.size, -1)
    if other.kind is not None:
        kind = np.where(rows & (other.kind >= 0), other.kind + shift, kind)
    return Predicted(
        outcomes, np.where(rows, other.layer, one.layer), np.where(rows, other.status, one.status), {},
        (*one.classes, *other.classes), kind,
    )  # fmt: skip


def devices_of(inputs: Columns, rows: int) -> np.ndarray:
    """Each row's device as the catalogue calls it; "" where it has none."""
    known: dict[str, str] = {}
    return np.array([known.setdefault(str(d), device_named(str(d), "")) for d in inputs["device"][:rows]], dtype=object)


def device_named(name: str, otherwise: str | None = None) -> str:
    try:
        return load_machine(name, table=True).device_id
    except SpeedlightError:
        return name if otherwise is None else otherwise


def kernels_beside(path: str) -> Path:
    """The kernels' table that goes with a table of models."""
    name = Path("kernels") / f"{fp32_models.TABLE}.parquet"
    folders = [Path(path).resolve().parent.parent]
    if os.environ.get("SPEEDLIGHT_DATA"):
        folders.append(Path(os.environ["SPEEDLIGHT_DATA"]))
    folders.append(Path("../shared/data"))
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise BadFile(
        f"no {name} beside {path}",
        expected="the table of kernels to refit without a device",
        hint="set SPEEDLIGHT_DATA",
    )


def fits_without(path: Path, progress: Progress) -> Mapping[str, Fit]:
    """Device → the shipped procedure's fit to the other devices; its intervals rest on the others' errors when left out."""
    try:
        from ..costs.refit.crossval import leave_devices_out, with_spread
        from ..costs.refit.fitting import training_of
    except ImportError as error:
        raise MissingDependency(error.name or "scipy", "fit", "cross-validation") from None
    rules = TABLES.get(fp32_models.TABLE)
    (target,) = rules.targets
    seen = training_of(rules, target, read_table(path))
    left = leave_devices_out(target, seen, (), progress)
    fits = {}
    for name, parts in left.parts.items():
        rest = np.flatnonzero((left.label != name) & np.isfinite(left.residual))
        spread = with_spread(target, parts, seen, {"device": (left, rest)})
        header = {
            "id": f"{rules.name} without {name}",
            "date": date.today().isoformat(),
            "tables": [],
            "cross_validation": [],
        }
        fits[str(name)] = Fit(target.family.name, header, target.family.partition, spread)
    return fits
