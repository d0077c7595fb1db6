"""Kernels of image models and the times of the models → a fit, with its errors on models and devices left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from ...costs.calibration.model import Fit, Part, Spread, quantiles_of
from ...costs.calibration.samples import Family
from ...costs.families.module_kernels import FAMILIES, FLOORS, NAME
from ...costs.refit import whole
from ...costs.refit.spread import FARTHER, INTERVAL, SIGNED, few, weighted_quantiles
from ...costs.refit.train import folds
from ...costs.refit.whole import Sort, Wholes
from ...evidence.tables import fingerprint
from ..suite import Progress

FOLDS = 5
# What devices never measured are off by (log) where more of them were: eight cards left out of whole transformers in fp32
# (studies/torch_fp32_models.md: −10.2, 5.0, 8.0, −2.0, −3.3, −3.4, 6.1, −20.4 %).
DEVICES, OFFSET = 8, 0.1
LEAST = 30  # rows from which a device and stack have quantiles of their own
TABLE = "vision_throughput"
COMMAND = "python -m speedlight.validation.image_models"
Parts = Mapping[Sort, Part]
Families = Mapping[Sort, Family]
Spreads = Mapping[str, Spread]  # by kind of machine


@dataclass(frozen=True)
class Rows:
    """What is known of each row beside its kernels.

    Attributes:
        wholes: kernels and seconds.
        group: what is left out as a whole: the module that defines the model.
        kind, device: of machine; ``memory``: its sort of main memory.
        setting: device, precision, layout, stack and mode, whose errors count alike.
        framework: stack without its version; ``step``: "train", or nothing.
        network: whether it is a network, no kernel alone.
        batch: images at a time.
        ours: whether the network is ours of that name: others are predicted, but nothing is fitted to them.
    """

    wholes: Wholes
    group: np.ndarray
    kind: np.ndarray
    device: np.ndarray
    memory: np.ndarray
    setting: np.ndarray
    framework: np.ndarray
    step: np.ndarray
    network: np.ndarray
    batch: np.ndarray
    ours: np.ndarray


@dataclass(frozen=True)
class LeftOut:
    """Seconds of every row by the fit that did not see it, and that fit's label; NaN where there is none."""

    seconds: np.ndarray
    label: np.ndarray
    parts: Mapping[Any, Parts]

    def residual(self, measured: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.log(measured / self.seconds)
        return result


def leave_groups_out(rows: Rows, progress: Progress) -> LeftOut:
    """Five folds of defining modules."""
    return _leave_out(rows, folds(rows.group, FOLDS), FAMILIES, "fold", progress)


def leave_devices_out(rows: Rows, progress: Progress) -> LeftOut:
    """Each device in turn, priced by what others of its kind share."""
    return _leave_out(rows, rows.device, whole.without(FAMILIES, "device"), "device", progress)


def _leave_out(rows: Rows, label: np.ndarray, families: Families, what: str, progress: Progress) -> LeftOut:
    seconds = np.full(label.size, np.nan)
    parts: dict[Any, Parts] = {}
    for value in np.unique(label).tolist():
        progress(f"{NAME}: left out {what} {value}")
        out, rest = np.flatnonzero(label == value), np.flatnonzero((label != value) & rows.ours)
        if not rest.size:
            continue
        alike = rest[np.isin(rows.kind[rest], rows.kind[out])]
        if not alike.size:
            continue  # the only one of its kind
        parts[value] = fit_parts(families, rows, alike)
        seconds[out] = whole.seconds(parts[value], rows.wholes.take(out))
    return LeftOut(seconds, label, parts)


def fit_parts(families: Families, rows: Rows, which: np.ndarray) -> Parts:
    """Parts fitted to some rows; kinds of machines share nothing, so each is solved on its own."""
    found: dict[Sort, Part] = {}
    for kind in np.unique(rows.kind[which]).tolist():
        found |= whole.fit(families, rows.wholes.take(which[rows.kind[which] == kind]), FLOORS)
    return found


def spreads_of(rows: Rows, groups: np.ndarray | None, devices: np.ndarray | None) -> dict[str, Spread]:
    """Intervals by kind of machine: log(measured / predicted) of models left out for known devices, of devices left out
    for others; :data:`FARTHER` times as wide as a known device's where none of the kind could be left out.

    All kernels of a model err together (one number was measured), so the whole variance is shared. Rows of kernels alone and of other networks
    than ours say nothing, nor do those of a device left out whose stack or mode no other device was measured in.
    """
    found = {}
    for kind in np.unique(rows.kind).tolist():
        own = (rows.kind == kind) & rows.ours & rows.network
        strange = own & _elsewhere(rows)
        found[kind] = _spread(
            rows, None if groups is None else np.where(own, groups, np.nan),
            None if devices is None else np.where(strange, devices, np.nan),
        )  # fmt: skip
    return found


def _elsewhere(rows: Rows) -> np.ndarray:
    """Whether another device was measured with the row's stack and mode."""
    what = np.array([f"{f}|{s.rpartition(' ')[2]}" for f, s in zip(rows.framework, rows.setting, strict=True)])
    found = np.zeros(what.size, dtype=bool)
    for name in np.unique(what).tolist():
        here = what == name
        found[here] = np.unique(rows.device[here]).size > 1
    return found


def _spread(rows: Rows, groups: np.ndarray | None, devices: np.ndarray | None) -> Spread:
    quantiles: dict[tuple[str, ...], tuple[float, float]] = {}
    if groups is not None and np.isfinite(groups).any():
        good = np.isfinite(groups)
        quantiles["known",] = _quantiles(groups, good, rows)
        for cls in sorted(set(zip(rows.device[good], rows.framework[good], rows.step[good], strict=True))):
            of = zip((rows.device, rows.framework, rows.step), cls, strict=True)
            own = good & np.logical_and.reduce([field == value for field, value in of])
            if own.sum() >= LEAST:  # inference is what a device and stack do where no step is named
                quantiles["known", *(name for name in cls if name)] = _quantiles(groups, own, rows)
    if devices is not None and np.isfinite(devices).any():
        good = np.isfinite(devices)
        quantiles["stranger",] = _strangers(devices, rows, good)
        for step in np.unique(rows.step[good]).tolist():
            named = ("stranger", "", "", step) if step else ("stranger",)
            quantiles[named] = _strangers(devices, rows, good & (rows.step == step))
    elif ("known",) in quantiles:
        low, high = quantiles["known",]
        quantiles["stranger",] = (low * FARTHER, high * FARTHER)
    if ("stranger",) in quantiles:
        quantiles["relative",] = quantiles["stranger",]
    return Spread((), quantiles, dict.fromkeys(("known", "relative", "stranger"), 1.0))


def _strangers(residual: np.ndarray, rows: Rows, of: np.ndarray) -> tuple[float, float]:
    """Central 80 % of some rows (``of``) on a device never measured: what a whole device is off by, and what they differ by on one.

    How far devices are off is known from as many as were left out here and from :data:`DEVICES` of other models, so Student's t (about
    0, since nothing says on which side the next will be) widens that part alone; models there are many. A device without which no other
    of its sort of memory is left says how far sorts are apart, not how far devices of a sort or their models are: it counts where there
    are only such. A mode that no other device ran has the spread of models in what those did run.
    """
    good = np.isfinite(residual)
    within, shifts = np.full(residual.size, np.nan), dict[str, float]()
    for device in np.unique(rows.device[good]).tolist():
        own = good & (rows.device == device)
        shifts[device] = float(np.average(residual[own], weights=_weights(own, rows)))
        within[own] = residual[own] - shifts[device]
    sorts = dict(zip(rows.device.tolist(), rows.memory.tolist(), strict=True))
    alike = {d: s for d, s in shifts.items() if list(sorts.values()).count(sorts[d]) > 1}
    squares = sum(shift**2 for shift in (alike or shifts).values()) + (DEVICES * OFFSET**2 if alike else 0.0)
    known = len(alike) + DEVICES if alike else len(shifts)
    between = float(np.sqrt(squares / known)) * float(student.ppf(INTERVAL[1], known))
    near = good & np.isin(rows.device, list(alike))
    low, high = _quantiles(within, next((own for own in (of & near, near) if own.any()), of), rows)
    return -float(np.hypot(low, between)), float(np.hypot(high, between))


def _weights(own: np.ndarray, rows: Rows) -> np.ndarray:
    """Each group of a setting counts alike, and a setting as the root of its rows: five networks say less than a thousand."""
    weight = np.ones(int(own.sum()))
    for names in ((rows.setting, rows.group), (rows.setting,)):
        labels = np.array(["|".join(map(str, n)) for n in zip(*(name[own] for name in names), strict=True)])
        _, joint = np.unique(labels, return_inverse=True)
        weight = weight / np.bincount(joint, weights=weight)[joint]
    _, setting, count = np.unique(rows.setting[own], return_inverse=True, return_counts=True)
    return weight * np.sqrt(count[setting])


def _quantiles(residual: np.ndarray, own: np.ndarray, rows: Rows) -> tuple[float, float]:
    """Central 80 % of some rows; few groups widen by Student's t."""
    low, high = weighted_quantiles(residual[own], _weights(own, rows))
    units = np.unique(rows.group[own]).size
    if units < SIGNED:
        low, high = -max(-low, high), max(-low, high)
    return low * few(units), high * few(units)


def with_spreads(parts: Parts, spreads: Spreads) -> dict[Sort, Part]:
    return {sort: dataclasses.replace(part, spread=spreads[sort[1]]) for sort, part in parts.items()}


def fit(rows: Rows, path: Path, progress: Progress, share: int = 1) -> Fit:
    """The shipped fit: of all rows, with intervals and errors of what was left out."""
    measured = rows.wholes.measured
    groups, devices = leave_groups_out(rows, progress), leave_devices_out(rows, progress)
    spreads = spreads_of(rows, groups.residual(measured), devices.residual(measured))
    parts = with_spreads(fit_parts(FAMILIES, rows, np.flatnonzero(rows.ours)), spreads)
    coords = sorted({axis.coord for part in parts.values() for f in part.blocks for axis in f.block.axes})
    for by, left in (("group", groups), ("device", devices)):
        for line in by_setting(by, rows, left):
            progress(line)
    header: dict[str, Any] = {
        "schema": 1,
        "id": f"{NAME}@{date.today().isoformat()}",
        "family": NAME,
        "date": date.today().isoformat(),
        "procedure": COMMAND if share == 1 else f"{COMMAND} --share {share}",
        "features": coords,
        "tables": [{"name": TABLE, "rows": int(measured.size), "fingerprint": fingerprint(path)}],
        "cross_validation": [
            errors(by, rows, left) for by, left in (("group", groups), ("device", devices)) if left.parts
        ],
        "layered_on": None,
    }
    return Fit(NAME, header, ("sort", "kind"), parts)


def bands_left_out(rows: Rows, left: LeftOut, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Each row's interval ends, as logs of factors, by residuals of what was left out with other rows than it: a row's interval never
    rests on its own error."""
    residual = left.residual(rows.wholes.measured)
    low, high = np.full(residual.size, np.nan), np.full(residual.size, np.nan)
    for label in np.unique(left.label).tolist():
        own = left.label == label
        rest = np.where(own, np.nan, residual)
        spreads = spreads_of(rows, rest, None) if by == "group" else spreads_of(rows, None, rest)
        ends = bands(rows, spreads, "known" if by == "group" else "stranger")
        low[own], high[own] = ends[0][own], ends[1][own]
    return low, high


def errors(by: str, rows: Rows, left: LeftOut) -> dict[str, Any]:
    """Errors of networks, averaged over settings."""
    measured = rows.wholes.measured
    error = np.abs(left.seconds / measured - 1)
    low, high = bands_left_out(rows, left, by)
    residual = left.residual(measured)
    inside = (residual >= low) & (residual <= high)
    settings = [np.isfinite(error) & rows.network & (rows.setting == s) for s in np.unique(rows.setting)]
    settings = [own for own in settings if own.any()]
    return {
        "leave": by,
        "median_ape": mean([float(np.median(error[own])) for own in settings]),
        "mape": mean([float(np.mean(error[own])) for own in settings]),
        "coverage_80": mean([float(np.mean(inside[own])) for own in settings]),
    }


def by_setting(by: str, rows: Rows, left: LeftOut) -> Iterator[str]:
    """Errors of each setting in a line: rows, median and mean error, bias, share within the 80 % interval and its width, and
    the share of pairs of models that differ by more than a fifth whose order is right; then the worst groups."""
    measured = rows.wholes.measured
    low, high = bands_left_out(rows, left, by)
    residual = left.residual(measured)
    error = np.abs(left.seconds / measured - 1)
    for setting in np.unique(rows.setting):
        own = np.flatnonzero((rows.setting == setting) & np.isfinite(error))
        if own.size:
            inside = np.mean((residual[own] >= low[own]) & (residual[own] <= high[own]))
            width = np.median(np.exp(high[own]) - np.exp(low[own]))
            yield (
                f"{by} out | {setting} | n {own.size} | median {np.median(error[own]):.1%} | mean {np.mean(error[own]):.1%} | "
                f"bias {np.exp(-np.median(residual[own])) - 1:+.1%} | interval holds {inside:.0%}, width {width:.0%} | "
                f"order right {ordered(left.seconds[own], measured[own], rows.batch[own]):.1%}"
            )
    groups = {g: np.median(error[(rows.group == g) & np.isfinite(error)]) for g in np.unique(rows.group)}
    worst = sorted(groups.items(), key=lambda item: -item[1])[:12]
    yield f"{by} out | worst groups | " + ", ".join(f"{g} {e:.0%}" for g, e in worst)


def ordered(said: np.ndarray, measured: np.ndarray, batch: np.ndarray) -> float:
    """Share of pairs of rows whose throughputs differ by more than a fifth that come in the right order."""
    rate, true = np.log(batch / said), np.log(batch / measured)
    apart = true[:, None] - true[None, :] > np.log(1.2)
    right = (rate[:, None] > rate[None, :]) & apart
    return float(right.sum() / max(apart.sum(), 1))


def bands(rows: Rows, spreads: Spreads, depth: str) -> tuple[np.ndarray, np.ndarray]:
    """Each row's interval ends, as logs of factors."""
    table = np.tile((-1.0, 1.0), (rows.kind.size, 1))
    empty = Spread((), {})
    names = ("device", "framework", "step")
    for number, (kind, *cls) in enumerate(zip(rows.kind, *(getattr(rows, name) for name in names), strict=True)):
        table[number] = quantiles_of(spreads.get(kind, empty), dict(zip(names, cls, strict=True)), depth)
    return table[:, 0], table[:, 1]


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


__all__ = ["LeftOut", "Rows", "bands_left_out", "errors", "fit", "leave_devices_out", "leave_groups_out", "spreads_of"]
