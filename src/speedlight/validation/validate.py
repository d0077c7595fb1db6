"""Predictions beside a measured table: OUT file, metrics, bars (CONTRACT, "validate")."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from ..costs.calibration.samples import as_floats
from ..evidence.check import differences
from ..evidence.schema import schemas
from ..evidence.tables import Table, base_name, codes_of, fingerprint, group_codes, read_table, write_predictions
from ..hardware.catalogue import load_machine
from ..hardware.machine import Machine
from . import suites  # noqa: F401  registers the shipped suites
from .metrics import Bar, Compared, compared, finite, parse_bar
from .suite import SUITES, Kernels, Leave, Predicted, Progress, Suite

__all__ = ["Bar", "parse_bar", "validate"]

EXAMPLES = 20  # rows below the limit that the report names
WAYS = ("group", "device")


def quiet(_: str) -> None:
    """No progress."""


def suite_for(table: Table, name: str | None) -> Suite:
    """``--suite`` wins, then the file's base name, then the columns where one suite alone has them all.

    Of two suites whose columns a file has, the one that asks for more of them is meant.
    """
    if name is not None:
        return SUITES.get(name)
    known = list(SUITES)
    base = base_name(table.path)
    if base in known:
        return SUITES.get(base)
    wanted = {s: set(SUITES.get(s).required) for s in known}
    held = [s for s in known if wanted[s] <= set(table.columns)]
    fitting = [s for s in held if not any(wanted[s] < wanted[other] for other in held)]
    if len(fitting) == 1:
        return SUITES.get(fitting[0])
    raise BadInput(
        f"{table.path} names no suite, and {len(fitting) or 'none'} fit its columns",
        expected="--suite with one of " + ", ".join(fitting or known),
    )


def validate(
    path: str | Path,
    *,
    suite: str | None = None,
    cv: str | None = None,
    leave: Sequence[str] = (),
    on: str | None = None,
    predictions: str | Path | None = None,
    bars: Sequence[Bar] = (),
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Predict a table's measured columns and compare.

    Args:
        path: the table.
        suite: its rules; by file name or columns when None.
        cv: ``group`` or ``device``: refit without each and write out-of-fold predictions; the shipped fit when None.
        leave: devices to leave out with ``cv="device"``; each in turn when empty.
        on: machine (id or file) of rows that name no device, or name that one: its owner's calibrations hold for them.
        predictions: where to write every row with its predictions.
        bars: limits on metrics.
        progress: told what is being fitted.

    Returns:
        CONTRACT's validate object, with ``"passed"`` telling whether every bar held.
    """
    start = time.perf_counter()
    if cv not in (None, *WAYS):
        raise BadInput(f"--cv {cv}", expected="group or device")
    if leave and cv != "device":
        raise BadInput("--leave names devices to leave out", expected="--cv device beside it")
    table = read_table(path)
    rules = suite_for(table, suite)
    check_words(rules, cv, bars)
    check_columns(table, rules)
    machine = machine_for(on, rules, cv)
    if cv is None:
        inputs = rules.inputs(table)
        if machine is None or rules.on is None:
            result = rules.predict(inputs, table.rows)
        else:
            result = rules.on(inputs, table.rows, machine)
    else:
        assert rules.cross is not None
        result = rules.cross(table, Leave(cv, tuple(leave)), progress)
    if predictions is not None:
        write_predictions(table, added_columns(result), predictions)
    report = Report(table, rules, result)
    return {**report.to_dict(cv, bars, time.perf_counter() - start), "on": on_of(machine)}


def machine_for(on: str | None, rules: Suite, cv: str | None) -> Machine | None:
    """The machine of rows that name none."""
    if on is None:
        return None
    if cv is not None:
        raise BadInput("--on beside --cv", expected="one of them: a refit takes each row's device from the table")
    if rules.on is None:
        raise BadInput(f"--on {on}: rows of {rules.name} name their machine themselves", hint="leave --on out")
    return load_machine(on)


def on_of(machine: Machine | None) -> dict[str, Any] | None:
    """The machine stated, and which of its owner's calibrations could be layered on."""
    if machine is None:
        return None
    layered = [
        {"family": c.family, "framework": c.framework, "points": c.points, "date": c.date, "source": c.source}
        for c in machine.calibrations
    ]
    return {"id": machine.id, "calibrations": layered}


def check_words(rules: Suite, cv: str | None, bars: Sequence[Bar]) -> None:
    if cv is not None and rules.cross is None:
        raise BadInput(
            f"--cv {cv}: the suite {rules.name} fits nothing", hint="leave --cv out: every error is out of sample"
        )
    columns = rules.predicted or rules.measured
    for bar in bars:
        if bar.column not in columns:
            raise BadInput(f"--bar names {bar.column!r}", expected="one of " + ", ".join(columns))


def check_columns(table: Table, rules: Suite) -> None:
    """A column nothing can do without is named with its meaning."""
    missing = [c for c in rules.required if c not in table]
    if missing:
        schema = schemas().get(rules.name)
        known = schema.columns if schema is not None else {}
        said = [f"{c}: {known[c].describe()}" if c in known else c for c in missing]
        raise BadInput(
            f"{table.path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}",
            expected="; ".join(said),
            hint="the suite " + rules.name + " needs " + ", ".join(rules.required),
        )


def added_columns(result: Predicted) -> dict[str, np.ndarray]:
    """What OUT adds to the input's columns."""
    added: dict[str, np.ndarray] = {}
    for name, o in result.outcomes.items():
        added |= {
            f"predicted_{name}": o.predicted,
            f"limit_{name}": o.limit,
            f"low_{name}": o.low,
            f"high_{name}": o.high,
        }
    if result.kernels is not None:
        names = result.kernels.chosen.copy()
        names[names == ""] = None
        added["predicted_kernel_source"] = names
    return {**added, "layer": result.layer, "status": result.status}


class Report:
    """A table, what was predicted of it, and how far both are apart."""

    def __init__(self, table: Table, rules: Suite, result: Predicted) -> None:
        self.table, self.rules, self.result = table, rules, result
        self.compared: dict[str, Compared] = {
            name: compared(as_floats(table.columns[name]), outcome, name in rules.rate)
            for name, outcome in result.outcomes.items()
            if name in table
        }

    def to_dict(self, cv: str | None, bars: Sequence[Bar], seconds: float) -> dict[str, Any]:
        table, rules, result = self.table, self.rules, self.result
        metrics = self.metrics()
        answered = np.zeros(table.rows, dtype=bool)
        for outcome in result.outcomes.values():
            answered |= np.isfinite(outcome.predicted)
        statuses, codes = codes_of(result.status)
        counts = np.bincount(codes, minlength=len(statuses))
        out = np.array([str(s).startswith("out-of-scope") for s in statuses], dtype=bool)
        scope = ~out[codes] if out.size else np.zeros(0, dtype=bool)
        held = [bar.held(metrics) for bar in bars]
        return {
            "suite": rules.name,
            "rows": table.rows,
            "predicted": int(answered.sum()),
            "coverage": float(answered[scope].mean()) if scope.any() else None,
            "seconds": seconds,
            "cv": cv,
            "fit": fit_of(result.fits),
            "in_sample": in_sample(table, result.fits),
            "status": {str(s): int(c) for s, c in sorted(zip(statuses, counts, strict=True), key=lambda p: str(p[0]))},
            "metrics": metrics,
            "averages": self.averages(),
            "parts": self.parts(),
            "groups": self.groups(),
            "kernel": kernel_of(result.kernels),
            "below_limit": [b for name, c in self.compared.items() for b in examples(name, c)],
            "columns": self.columns(),
            "bars": [
                {"column": b.column, "metric": b.metric, "bar": b.value, "held": h}
                for b, h in zip(bars, held, strict=True)
            ],
            "passed": all(held),
        }

    def metrics(self, some: np.ndarray | None = None) -> dict[str, Any]:
        """By column, errors of all rows or of some, and how many measurements are better than their limit."""
        found = {}
        for name, c in self.compared.items():
            at = slice(None) if some is None else some[c.rows]
            found[name] = {**c.metrics(at), "below_limit": int(c.beyond[at].sum())}
        return found

    def averages(self) -> dict[str, Any]:
        """By column, over device × framework × format (and group, for coverage)."""
        if self.result.kind is None:
            return {}
        group = group_codes(self.table.columns, self.rules.group, self.table.rows)
        return {name: c.averages(self.result.kind, group) for name, c in self.compared.items()}

    def parts(self) -> dict[str, Any]:
        """By sort of row, where a suite has several: its rows, and by column its metrics with averages over its classes."""
        part, kind = self.result.part, self.result.kind
        if part is None or kind is None:
            return {}
        group = group_codes(self.table.columns, self.rules.group, self.table.rows)
        found: dict[str, Any] = {}
        for number, name in enumerate(self.result.parts):
            here = part == number
            if not here.any():
                continue
            own = np.where(here, kind, -1)
            answered = np.any([np.isfinite(o.predicted[here]) for o in self.result.outcomes.values()], axis=0)
            found[name] = {
                "rows": int(here.sum()), "coverage": float(answered.mean()),
                "metrics": self.metrics(here),
                "averages": {n: c.averages(own, group) for n, c in self.compared.items()},
            }  # fmt: skip
        return found

    def groups(self) -> dict[str, Any]:
        """Metrics by each slice, by sort of row and by class."""
        found: dict[str, Any] = {}
        for key in self.rules.slices:
            if key in self.table:
                values, codes = codes_of(self.table.columns[key])
                self._add(found, key, codes, ["" if v is None else str(v) for v in values])
        if self.result.part is not None:
            self._add(found, "rows", self.result.part, self.result.parts)
        if self.result.kind is not None and self.result.classes:
            self._add(found, "class", self.result.kind, self.result.classes)
        return found

    def _add(self, found: dict[str, Any], key: str, codes: np.ndarray, values: Sequence[str]) -> None:
        own: dict[str, Any] = {}
        for name, c in self.compared.items():
            for value, metrics in c.by(codes, values).items():
                own.setdefault(value, {})[name] = metrics
        found[key] = dict(sorted(own.items()))

    def columns(self) -> dict[str, Any]:
        """How the file differs from the table its suite is made for."""
        schema = schemas().get(self.rules.name)
        if schema is None:
            return {}
        found = differences(self.table, schema)
        return {"missing": list(found.missing), "extra": list(found.extra), "mistyped": dict(found.mistyped)}


def entry(leave: str, average: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a fit's header says of rows left out: averages over classes, and over rows.

    Args:
        leave: ``group`` or ``device``.
        average, metrics: of one column, :meth:`Report.averages` and :meth:`Report.metrics`.
    """
    kept = ("median_ape", "mape", "coverage_80")
    rows = {name: round(metrics[name], 4) for name in kept}
    return {
        "leave": leave,
        **{name: round(average[name], 4) for name in kept},
        "over_rows": {"n": metrics["n"], **rows},
    }


def fit_of(fits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """What calibrated predictions rest on; one of several columns names them all."""
    if not fits:
        return None
    errors = [{**error, "column": column} for column, h in fits.items() for error in h["cross_validation"]]
    return {
        "id": " + ".join(dict.fromkeys(h["id"] for h in fits.values())),
        "date": max(h["date"] for h in fits.values()),
        "cv": [{k: finite(v) if isinstance(v, float) else v for k, v in e.items()} for e in errors],
    }


def in_sample(table: Table, fits: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a fit saw this very file."""
    seen = {t["fingerprint"] for header in fits.values() for t in header["tables"]}
    return bool(seen) and fingerprint(table.path) in seen


def kernel_of(kernels: Kernels | None) -> dict[str, Any] | None:
    """How often the kernel is named right, over rows whose inputs were measured with one kernel."""
    if kernels is None:
        return None
    rows = kernels.single & (kernels.stated != "")
    count = int(rows.sum())
    right = float(np.mean(kernels.chosen[rows] == kernels.stated[rows])) if count else None
    return {"n": count, "named_right": right}


def examples(name: str, c: Compared) -> list[dict[str, Any]]:
    """The first rows whose measurement is better than its limit."""
    return [
        {"row": int(c.rows[i]), "column": name, "measured": float(c.measured[i]), "limit": float(c.limit[i])}
        for i in np.flatnonzero(c.beyond)[:EXAMPLES]
    ]
