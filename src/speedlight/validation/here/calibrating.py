"""``speedlight calibrate EVIDENCE``: the curves of this machine's operators, with their errors before and after."""

from __future__ import annotations

import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ..._foundation.errors import BadInput
from ...costs.calibration.store import shipped
from ...costs.families.module_here import DISPATCH, PAGE, RECORDED, curves_of
from ...costs.families.module_kernels import NAME
from ...hardware.calibrated import base_of, calibrated_file, write_calibrations
from ...hardware.catalogue import load_machine
from ...hardware.machine import LocalCalibration, PointErrors
from ...measurement.bench.evidence import Evidence, Measurement, read
from ..metrics import finite
from .figures import backward_call, dispatch, hot_dispatch, page_seconds, recorded
from .fitting import FOLDS, LEAST, Fitted, fitted
from .points import FRAMEWORK, Observed, observe, stack_on

BETTER = 0.9  # of the median error: less is not worth a calibration


def calibrate_here(path: Path, on: str, out: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Fit the curves of a machine to what ``speedlight measure`` wrote of it.

    Args:
        path: the evidence file.
        on: the machine; the file that ``measure`` wrote beside it, whose rates are measured.
        out: machine file to write or merge into; nothing is written when None, or where nothing is gained.
        quick: two folds instead of five.

    Returns:
        the calibrate object (see :func:`..calibrate.calibrate`), with ``seconds`` of dispatch and new pages in its entry.

    Raises:
        BadInput: for evidence of another machine, or of too few operators.
        MissingDependency: without torch, whose operators are captured, or SciPy.
    """
    start = time.perf_counter()
    evidence = read(path)
    machine = load_machine(on)
    if evidence.machine.get("name") not in (machine.name, *machine.device_strings):
        raise BadInput(
            f"{path} was measured on {evidence.machine.get('name')!r}, not on {machine.name!r}",
            expected="the machine file that was written with it",
        )
    base = base_of(on)
    if out is not None:
        calibrated_file(out, base)  # refused before anything is fitted
    points = evidence.points
    page = page_seconds(points) if machine.kind == "cpu" else 0.0  # devices' allocators keep what is freed
    observed = observe(points, machine, page)
    if len(observed.points) < LEAST:
        raise BadInput(
            f"{path} has {len(observed.points)} operators that can be looked at", expected=f"at least {LEAST}",
            hint="speedlight measure --quick",
        )  # fmt: skip
    stated = stack_on(machine).host.launch_s if machine.kind == "cpu" else 0.0  # a device's points ran without the host
    host = observed.host(hot_dispatch(points), dispatch(points), backward_call(points))
    found = fitted(observed, host, stated, 2 if quick else FOLDS)
    figures = {DISPATCH: dispatch(points), RECORDED: recorded(points), PAGE: page}
    told = {name: value for name, value in figures.items() if value}
    local = _calibration(evidence, observed, found, told, path.name)
    gained = local.after.median_ape < BETTER * local.before.median_ape
    written = str(write_calibrations(out, base, machine, [local])) if out is not None and gained else None
    status = Counter({"ok": len(observed.points)})
    status.update(f"not looked at: {why}"[:80] for why in observed.failed.values())
    return {
        "suite": "evidence", "table": str(path), "machine": machine.id, "rows": len(points), "points": len(observed.points),
        "status": dict(status), "seconds": time.perf_counter() - start, "calibrations": [_answer(local, observed, found, gained)],
        "gained": gained, "written": written,
    }  # fmt: skip


def _calibration(
    evidence: Evidence, observed: Observed, found: Fitted, seconds: dict[str, float], source: str
) -> LocalCalibration:
    when = str(evidence.context.get("date", "")) or date.today().isoformat()
    return LocalCalibration(
        NAME, FRAMEWORK, (), len(observed.points), when[:10], errors(found.before), errors(found.after), found.interval,
        source, curves_of(found.parts), tuple(seconds.items()),
    )  # fmt: skip


def errors(left: np.ndarray) -> PointErrors:
    """Of log(measured / predicted)."""
    error = np.abs(np.exp(-left) - 1)
    return PointErrors(float(np.median(error)), float(np.mean(error)))


def _answer(local: LocalCalibration, observed: Observed, found: Fitted, gained: bool) -> dict[str, Any]:
    names = np.array([_class(p) for p in observed.points])
    fit = shipped(NAME)
    return {
        "family": local.family, "framework": local.framework, "layered_on": str(fit.header["id"]) if fit else "analytic",
        "points": local.points, "left_out": f"{found.folds} folds", "model": "curves", "gained": gained,
        "factors": {}, "curves": len(local.curves), "figures": dict(local.seconds), "interval": list(local.interval),
        **_compared(found, np.arange(names.size)),
        "classes": {
            name: {"points": int(rows.size), **_compared(found, rows)}
            for name, rows in ((n, np.flatnonzero(names == n)) for n in sorted(set(names.tolist())))
        },
    }  # fmt: skip


def _class(point: Measurement) -> str:
    back = "|backward" if point.sizes.get("backward") else ""
    return f"{point.op}|{point.sizes.get('format', 'fp32')}{back}"


def _compared(found: Fitted, rows: np.ndarray) -> dict[str, Any]:
    return {
        when: {"median_ape": finite(e.median_ape), "mape": finite(e.mape)}
        for when, e in (("before", errors(found.before[rows])), ("after", errors(found.after[rows])))
    }
