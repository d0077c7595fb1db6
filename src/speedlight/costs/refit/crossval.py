"""Predictions of rows by fits that did not see their shape group, or their device (CONTRACT, ``--cv``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..calibration.model import Fit, Part
from ..calibration.predict import Forecast, forecast
from ..calibration.samples import Family, Samples, Target
from .parallel import side_by_side
from .spread import Left, spread_of
from .train import Training, folds, residuals, train

Progress = Callable[[str], None]
Parts = Mapping[tuple[str, ...], Part]
FOLDS = 5


def quiet(_: str) -> None:
    """No progress."""


@dataclass(frozen=True)
class LeftOut:
    """What cross-validation leaves: a fit for each label, and every row's residual by the fit that did not see it.

    Attributes:
        label: of each training row: its fold, or its device.
        parts: label → the fit without it.
        residual: log(measured / predicted); NaN where a row was never left out.
    """

    label: np.ndarray
    parts: Mapping[object, Parts]
    residual: np.ndarray


@dataclass(frozen=True)
class Split:
    """What is left out in turn, and the family that is fitted to the rest.

    Attributes:
        family: the family.
        label: of each training row: its fold, or its device.
        values: the labels that are left out.
    """

    family: Family
    label: np.ndarray
    values: tuple[object, ...]


def leave_groups_out(target: Target, seen: Training, progress: Progress = quiet) -> LeftOut:
    """Five folds; all rows of a group share one."""
    return _left_out((_by_group(target, seen),), seen, progress)[0]


def leave_devices_out(target: Target, seen: Training, leave: Sequence[str] = (), progress: Progress = quiet) -> LeftOut:
    """One device at a time: those named, or each. What is fitted to single devices cannot help and is not fitted."""
    return _left_out((_by_device(target, seen, leave),), seen, progress)[0]


def cross_validate(target: Target, seen: Training, progress: Progress = quiet) -> tuple[Parts, LeftOut, LeftOut]:
    """The fit of all rows, and those with groups and with devices left out: side by side, so that no core waits for one kind to end."""
    whole = Split(target.family, np.zeros(seen.rows.size), (None,))
    found, groups, devices = _left_out((whole, _by_group(target, seen), _by_device(target, seen)), seen, progress)
    return found.parts[None], groups, devices


def _by_group(target: Target, seen: Training) -> Split:
    return _split(target.family, folds(seen.group, FOLDS))


def _by_device(target: Target, seen: Training, leave: Sequence[str] = ()) -> Split:
    stages = tuple(stage for stage in target.family.local if "device" not in stage[0].per)
    return _split(dataclasses.replace(target.family, local=stages), seen.of("device"), leave)


def _split(family: Family, label: np.ndarray, chosen: Sequence[object] = ()) -> Split:
    values = (v for v in sorted(set(label.tolist())) if (not chosen or v in chosen) and not (label == v).all())
    return Split(family, label, tuple(values))


def _left_out(splits: Sequence[Split], seen: Training, progress: Progress) -> list[LeftOut]:
    jobs = [(number, value) for number, split in enumerate(splits) for value in split.values]

    def work(job: tuple[int, object]) -> tuple[Parts, np.ndarray]:
        split, value = splits[job[0]], job[1]
        if value is None:
            return train(split.family, seen.data), np.zeros(0)
        rows = np.flatnonzero(split.label == value)
        rest = seen.data.take(_same_parts(split.family, seen, rows, np.flatnonzero(split.label != value)))
        parts = train(split.family, rest)
        return parts, residuals(split.family, parts, seen.data.take(rows))

    found: list[dict[object, Parts]] = [{} for _ in splits]
    left = [np.full(split.label.size, np.nan) for split in splits]
    for (number, value), (parts, errors) in zip(jobs, side_by_side(work, jobs), strict=True):
        split = splits[number]
        progress(f"{split.family.name}: {_said(value)}")
        found[number][value] = parts
        left[number][split.label == value] = errors
    return [LeftOut(s.label, parts, residual) for s, parts, residual in zip(splits, found, left, strict=True)]


def _said(value: object) -> str:
    if value is None:
        return "all rows"
    return f"left out fold {value + 1} of {FOLDS}" if isinstance(value, int) else f"left out {value}"


def _same_parts(family: Family, seen: Training, rows: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Of the rest, those of partitions the rows left out have."""
    _, inverse = seen.data.classes(family.partition)
    return rest[np.isin(inverse[rest], np.unique(inverse[rows]))]


def out_of_fold(
    target: Target, samples: Samples, seen: Training, left: LeftOut, by: str, blank: bool = False
) -> Forecast:
    """Predictions of every row by the fit that did not see it; its interval by residuals of the other labels' rows.

    Args:
        target, samples, seen: the column, its rows, those with a measurement.
        left: from :func:`leave_groups_out` or :func:`leave_devices_out`.
        by: ``group`` or ``device``.
        blank: hide which kernel ran, so that the stack's choice is predicted too.

    Returns:
        NaN where a row was never left out.
    """
    family = target.family
    hidden = _blanked(samples, family.kernels) if blank and family.kernels else samples
    merged: Forecast | None = None
    for value, parts in left.parts.items():
        out = np.flatnonzero(left.label == value)
        rest = np.flatnonzero((left.label != value) & np.isfinite(left.residual))
        fit = Fit(family.name, {}, family.partition, with_spread(target, parts, seen, {by: (left, rest)}))
        found = forecast(family, _only(hidden, seen.rows[out]), fit)
        if merged is None:
            merged = found
        else:
            for name in ("seconds", "low", "high", "kernel", "depth"):
                getattr(merged, name)[seen.rows[out]] = getattr(found, name)[seen.rows[out]]
    if merged is None:
        merged = forecast(family, _only(hidden, np.zeros(0, dtype=np.int64)), None)
    return merged


def with_spread(
    target: Target, parts: Parts, seen: Training, left: Mapping[str, tuple[LeftOut, np.ndarray]]
) -> dict[tuple[str, ...], Part]:
    """Parts with intervals from residuals: ``group`` → known devices; ``device`` → relatives and strangers."""
    classes, inverse = seen.data.classes(target.family.partition)
    code = {cls: number for number, cls in enumerate(classes)}
    result = {}
    for cls, part in parts.items():
        mine = inverse == code.get(cls, -1)
        by_depth: dict[str, Left] = {}
        for by, (errors, rows) in left.items():
            own = rows[mine[rows] & np.isfinite(errors.residual[rows])]
            if by == "group":
                depths = {"known": own}
            else:
                kin = _has_relatives(seen.of("architecture"), seen.of("device"))[own]
                depths = {"relative": own[kin], "stranger": own[~kin]}
            for depth, chosen in depths.items():
                if chosen.size:
                    by_depth[depth] = Left(seen.data.take(chosen), errors.residual[chosen], seen.group[chosen])
        result[cls] = dataclasses.replace(part, spread=spread_of(target.family, by_depth)) if by_depth else part
    return result


def _has_relatives(kind: np.ndarray, device: np.ndarray) -> np.ndarray:
    """Whether another device of a row's architecture is in the table."""
    many = {k: len(set(device[kind == k].tolist())) > 1 for k in set(kind.tolist())}
    return np.array([many[k] for k in kind.tolist()], dtype=bool)


def _only(samples: Samples, rows: np.ndarray) -> Samples:
    keep = np.zeros(samples.rows, dtype=bool)
    keep[rows] = True
    members = [m[keep[m]] for m in samples.members]
    some = [i for i, m in enumerate(members) if m.size]
    return dataclasses.replace(
        samples, classes=tuple(samples.classes[i] for i in some), members=tuple(members[i] for i in some)
    )


def _blanked(samples: Samples, name: str) -> Samples:
    return dataclasses.replace(samples, classes=tuple({**key, name: ""} for key in samples.classes))
