"""A user's own points → a local calibration, with the errors before and after (CONTRACT's ``calibrate``)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from ..costs.calibration.points import LEAST, Found, Points, calibrated, distinct, points_of
from ..costs.calibration.samples import TABLES, Samples, TableRules, Target, as_floats, assemble
from ..costs.calibration.store import shipped
from ..evidence.tables import Table, codes_of, read_table
from ..hardware.calibrated import base_of, calibrated_file, write_calibrations
from ..hardware.catalogue import load_machine
from ..hardware.machine import LocalCalibration, Machine, PointErrors
from .metrics import finite
from .suites.tables import CLASS, usable
from .validate import check_columns, suite_for

__all__ = ["calibrate"]


@dataclass(frozen=True, slots=True)
class Measured:
    """Points of one family and framework.

    Attributes:
        family, framework: what they are of.
        points: see the class.
        classes: each point's device|framework|format.
        fit: id of the fit that ships, or None.
    """

    family: str
    framework: str
    points: Points
    classes: np.ndarray
    fit: str | None


def calibrate(
    path: str | Path,
    on: str,
    *,
    suite: str | None = None,
    framework: str | None = None,
    out: str | Path | None = None,
    quick: bool = False,
) -> dict[str, Any]:
    """Factors on a machine's kernels from a table of points measured on it; curves from what ``speedlight measure`` wrote.

    Args:
        path: a table with the columns of one of the measured kernel tables, or an evidence file (``.json``).
        on: the machine, by id or file.
        suite: the table's rules; by file name or columns when None.
        framework: library of rows that name none.
        out: machine file to write or merge into; nothing is written when None, or where nothing is gained.
        quick: see :func:`~speedlight.costs.calibration.points.calibrated`.

    Returns:
        The calibrate object: ``calibrations`` with factors and errors before and after, ``gained`` whether any is worth it.

    Raises:
        BadInput: without a measured column, with a measurement that is no positive time, or with too few usable points.
    """
    if Path(path).suffix == ".json":  # tables are never JSON; what measure writes is
        from .here.calibrating import calibrate_here

        return calibrate_here(Path(path), on, None if out is None else Path(out), quick)
    start = time.perf_counter()
    machine = load_machine(on)
    base = base_of(on)
    if out is not None:
        calibrated_file(Path(out), base)  # refused before anything is fitted
    table = read_table(path)
    rules = rules_for(table, suite)
    inputs = inputs_of(rules, table, framework)
    groups, status = measured_on(rules, table, inputs, machine)
    enough = [g for g in groups if int(distinct(g.points).max(initial=-1)) + 1 >= LEAST]
    if not enough:
        raise BadInput(
            f"{table.path} has fewer than {LEAST} usable points of one framework on {machine.id}" + reasons(status),
            expected=f"at least {LEAST} different points, better 5 to 20",
        )
    answers, kept = [], []
    for group in enough:
        with np.errstate(all="ignore"):
            found = calibrated(group.points, quick)
        local = local_calibration(group, found, Path(path).name)
        answers.append(answer(group, found, local))
        if found.model != "none":
            kept.append(local)
    written = None
    if out is not None and kept:
        written = str(write_calibrations(Path(out), base, machine, kept))
    return {
        "suite": rules.name,
        "table": str(path),
        "machine": machine.id,
        "rows": table.rows,
        "points": sum(g.points.measured.size for g in enough),
        "status": {str(s): int((status == s).sum()) for s in sorted(set(status.tolist()))},
        "seconds": time.perf_counter() - start,
        "calibrations": answers,
        "gained": bool(kept),
        "written": written,
    }


def rules_for(table: Table, name: str | None) -> TableRules:
    """The rules of a kernel table."""
    suite = suite_for(table, name)
    rules = TABLES.find(suite.name)
    if rules is None:
        raise BadInput(f"the suite {suite.name} has no kernels to calibrate", expected="one of " + ", ".join(TABLES))
    check_columns(table, suite)
    if not any(target.column in table for target in rules.targets):
        wanted = " or ".join(t.column for t in rules.targets)
        raise BadInput(f"{table.path} has no measured column", expected=wanted)
    return rules


def inputs_of(rules: TableRules, table: Table, framework: str | None) -> dict[str, np.ndarray]:
    """What predictions rest on; rows without a framework take the one stated."""
    inputs = dict(usable(rules, {n: c for n, c in table.columns.items() if n not in rules.measured}))
    if framework:
        if "framework" not in rules.texts:
            raise BadInput(f"--framework {framework}: rows of {rules.name} have none", hint="leave it out")
        given = inputs.get("framework", np.full(table.rows, None, dtype=object))
        values = [framework if v is None or not str(v).strip() else v for v in given.tolist()]
        inputs["framework"] = np.array(values, dtype=object)
    return inputs


def measured_on(
    rules: TableRules, table: Table, inputs: Mapping[str, np.ndarray], machine: Machine
) -> tuple[list[Measured], np.ndarray]:
    """Points by family and framework, and what became of each row."""
    groups: list[Measured] = []
    status = np.full(table.rows, "ok", dtype=object)
    for target in rules.targets:
        if target.column not in table:
            continue
        measured = measured_of(table, target)
        with np.errstate(all="ignore"):
            samples = assemble(rules, target, inputs, table.rows, machine)
            fit = shipped(target.family.name)
            points, rows = points_of(target.family, samples, fit, measured)
        names, kinds, here = named(samples, machine)
        own = samples.status.copy()
        own[(own == "ok") & ~here] = "out-of-scope:another device"
        own[(own == "ok") & ~np.isfinite(measured)] = "out-of-scope:not measured"
        status = np.where(status == "ok", own, status)
        for name in sorted(set(names[rows][here[rows]].tolist())):
            some = np.flatnonzero(here[rows] & (names[rows] == name))
            header = str(fit.header["id"]) if fit is not None else None
            groups.append(Measured(target.family.name, name, points.take(some), kinds[rows[some]], header))
    return groups, status


def measured_of(table: Table, target: Target) -> np.ndarray:
    """Seconds of each row; NaN where the cell is empty.

    Raises:
        BadInput: naming the first row whose measurement is no positive time.
    """
    column = table.columns[target.column]
    seconds = as_floats(column) * target.unit
    blank = np.array([v is None or v != v for v in column.tolist()], dtype=bool)
    wrong = np.flatnonzero(~blank & ~(np.isfinite(seconds) & (seconds > 0)))
    if wrong.size:
        row = int(wrong[0])
        raise BadInput(
            f"{target.column} of row {row + 1} is {str(column[row])[:20]}" + (f", and of {wrong.size - 1} more" * (wrong.size > 1)),
            expected="a positive time, or an empty cell where nothing was measured",
        )  # fmt: skip
    return seconds


def named(samples: Samples, machine: Machine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row's framework, its class, and whether it is of the machine at all."""
    frameworks, kinds = (np.full(samples.rows, "", dtype=object) for _ in range(2))
    here = np.zeros(samples.rows, dtype=bool)
    for key, rows in zip(samples.classes, samples.members, strict=True):
        frameworks[rows] = key.get("framework", "")
        kinds[rows] = "|".join(key.get(field, "") for field in CLASS)
        here[rows] = key.get("device", "") == machine.device_id
    return frameworks, kinds, here


def reasons(status: np.ndarray) -> str:
    """What became of rows that are no points."""
    values, codes = codes_of(status)
    counts = np.bincount(codes, minlength=len(values))
    said = [f"{s}: {c}" for s, c in zip(values, counts.tolist(), strict=True) if s != "ok" and c]
    return f" ({', '.join(said)})" if said else ""


def local_calibration(group: Measured, found: Found, source: str) -> LocalCalibration:
    """The record that a machine carries."""
    return LocalCalibration(
        group.family, group.framework, tuple(found.factors.items()), int(group.points.measured.size),
        date.today().isoformat(), errors(found.before), errors(found.after), found.interval, source,
    )  # fmt: skip


def errors(left: np.ndarray) -> PointErrors:
    """Of log(measured / predicted)."""
    error = np.abs(np.exp(-left) - 1)
    return PointErrors(float(np.median(error)), float(np.mean(error)))


def answer(group: Measured, found: Found, local: LocalCalibration) -> dict[str, Any]:
    """One family and framework, as JSON has it."""
    return {
        "family": group.family,
        "framework": group.framework,
        "layered_on": group.fit or "analytic",
        "points": local.points,
        "left_out": f"{found.folds} folds" if found.grouped else "each point",
        "model": found.model,
        "gained": found.model != "none",
        "factors": found.factors,
        "interval": list(local.interval),
        **compared(found.before, found.after),
        "classes": {
            name: {"points": int(rows.size), **compared(found.before[rows], found.after[rows])}
            for name, rows in ((n, np.flatnonzero(group.classes == n)) for n in sorted(set(group.classes.tolist())))
        },
    }


def compared(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    return {
        when: {"median_ape": finite(e.median_ape), "mape": finite(e.mape)}
        for when, e in (("before", errors(before)), ("after", errors(after)))
    }
