"""A suite for every table of measured kernels: the calibrated prediction of each row by the fit that ships.

The rules of a table (:class:`~speedlight.costs.calibration.samples.TableRules`) say how its rows are looked at. Where a
family has no fit the analytic layer answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...costs import families  # noqa: F401  registers the tables
from ...costs.calibration.model import Fit
from ...costs.calibration.predict import Forecast, blank, forecast
from ...costs.calibration.samples import TABLES, Samples, TableRules, Target, as_floats, assemble
from ...costs.calibration.store import shipped
from ...evidence.schema import TableSchema, schemas
from ...evidence.tables import Table, codes_of, group_codes, rows_of
from ...hardware.machine import Machine
from ..suite import SUITES, Columns, Kernels, Leave, Outcome, Predicted, Progress, Suite

AT_ONCE = 400_000  # rows looked at together: bounds the memory their coordinates take
LARGEST = 2.0**53  # sizes beyond it are no whole numbers in floating point
CLASS = ("device", "framework", "format")  # key fields whose values make a class: every class counts alike in averages
NAMED = "kernel_source"  # optional by contract: users never know it


@dataclass(frozen=True, slots=True)
class Said:
    """One target's predictions, over all rows."""

    target: Target
    forecast: Forecast
    status: np.ndarray
    fit: Fit | None


def suite_of(rules: TableRules) -> Suite:
    """The suite of a table's rules."""
    schema = schemas().get(rules.name)
    columns = tuple(t.column for t in rules.targets) + tuple(rules.rates)

    def predict(inputs: Columns, rows: int) -> Predicted:
        return predicted(rules, inputs, rows)

    def on(inputs: Columns, rows: int, machine: Machine) -> Predicted:
        return predicted(rules, inputs, rows, machine)

    def cross(table: Table, leave: Leave, progress: Progress) -> Predicted:
        from ..crossval import cross_validated

        return cross_validated(rules, table, leave, progress)

    return Suite(
        name=rules.name, measured=rules.measured, required=required(rules, schema), group=rules.group,
        slices=rules.slices, predict=predict, rate=tuple(rules.rates), predicted=columns, cross=cross, on=on,
    )  # fmt: skip


def required(rules: TableRules, schema: TableSchema | None) -> tuple[str, ...]:
    """Numbers without a default, and texts whose schema does not call them optional."""
    texts = [
        n for n in rules.texts if schema is not None and n in schema.columns and not schema.columns[n].optional
    ]  # fmt: skip
    return (*(n for n in rules.numbers if n not in rules.optional), *texts)


def predicted(rules: TableRules, inputs: Columns, rows: int, on: Machine | None = None) -> Predicted:
    """Every row, by the fits that ship; ``on`` is the machine of rows that name none."""
    inputs = usable(rules, inputs)
    kinds = Kinds(rows)
    said, kernels = [], None
    with np.errstate(all="ignore"):  # rows that physics cannot price come out as NaN and get a status
        for number, target in enumerate(rules.targets):
            fit = shipped(target.family.name)
            whole, chosen = blank(np.full(rows, np.nan)), blank_kernels(rows)
            status = np.full(rows, "ok", dtype=object)
            for start in range(0, rows, AT_ONCE):
                some = slice(start, min(start + AT_ONCE, rows))
                own = {n: rows_of(c, some) for n, c in inputs.items()}
                samples = assemble(rules, target, own, some.stop - start, on)
                copy_into(whole, forecast(target.family, samples, fit), some)
                status[some] = samples.status
                kinds.add(samples, start)
                if number == 0:
                    choose(chosen, target, samples, fit, start)
            said.append(Said(target, whole, status, fit))
            if number == 0 and target.family.kernels and any(chosen[0]):
                kernels = Kernels(*chosen, single_kernel(rules, inputs, rows))
    fits = {s.target.column: s.fit.header for s in said if s.fit is not None}
    return assembled(rules, inputs, rows, said, fits, kinds, kernels)


def usable(rules: TableRules, inputs: Columns) -> Columns:
    """Inputs with sizes too large to be whole numbers made infinite, which is an invalid size."""
    result = dict(inputs)
    for name in rules.numbers:
        if name in result:
            values = as_floats(result[name])
            if (np.abs(values) > LARGEST).any():
                result[name] = np.where(np.abs(values) > LARGEST, np.inf, values)
    return result


def assembled(
    rules: TableRules, inputs: Columns, rows: int, said: list[Said], fits: Mapping[str, Mapping[str, Any]], kinds: Kinds,
    kernels: Kernels | None,
) -> Predicted:  # fmt: skip
    """Targets in their columns' units, rates from them, and one status a row."""
    outcomes = {}
    for s in said:
        f, unit = s.forecast, s.target.unit
        outcomes[s.target.column] = sound(f.seconds / unit, f.limit / unit, f.low / unit, f.high / unit)
    for column, (source, amount) in rules.rates.items():
        (f,) = (s.forecast for s in said if s.target.column == source)
        with np.errstate(all="ignore"):
            work = amount(numbers_of(rules, inputs, rows))
            outcomes[column] = sound(work / f.seconds, work / f.limit, work / f.high, work / f.low)
    answered = np.zeros(rows, dtype=bool)
    fitted = np.zeros(rows, dtype=bool)
    analytic = np.zeros(rows, dtype=bool)
    for s in said:
        own = np.isfinite(outcomes[s.target.column].predicted)
        answered |= own
        fitted |= own & (s.forecast.depth != "")
        analytic |= own & (s.forecast.depth == "")
    layer = np.full(rows, None, dtype=object)
    layer[fitted], layer[analytic], layer[fitted & analytic] = "calibrated", "analytic", "mixed"
    status = reasons(said, answered)
    infer(rules, inputs, rows, status)
    return Predicted(outcomes, layer, status, fits, kinds.names(), kinds.code, kernels)


def sound(predicted: np.ndarray, limit: np.ndarray, low: np.ndarray, high: np.ndarray) -> Outcome:
    """All four numbers, or none."""
    good = np.isfinite(predicted) & np.isfinite(limit) & np.isfinite(low) & np.isfinite(high) & (predicted > 0)
    return Outcome(*(np.where(good, v, np.nan) for v in (predicted, limit, low, high)))


def reasons(said: list[Said], answered: np.ndarray) -> np.ndarray:
    """``ok`` where any target is predicted, else the first reason."""
    status = np.full(answered.size, "ok", dtype=object)
    for s in reversed(said):
        why = ~answered & (s.status != "ok")
        status[why] = s.status[why]
    status[~answered & (status == "ok")] = "unsupported:no finite time for these sizes"
    return status


def infer(rules: TableRules, inputs: Columns, rows: int, status: np.ndarray) -> None:
    """``inferred:<fields>`` where a field that tells classes apart is absent or blank, and the schema says it never is."""
    schema = schemas().get(rules.name)
    lacking: list[tuple[str, np.ndarray]] = []
    for name in rules.texts:
        known = schema.columns.get(name) if schema is not None else None
        if name == NAMED or (schema is not None and (known is None or known.blank)):
            continue
        if name not in inputs:
            lacking.append((name, np.ones(rows, dtype=bool)))
            continue
        values, codes = codes_of(inputs[name])
        empty = np.array([v is None or v != v or str(v).strip() == "" for v in values], dtype=bool)
        if empty.any():
            lacking.append((name, empty[codes]))
    if lacking:
        fields = np.zeros(rows, dtype=np.int64)
        for bit, (_, rows_without) in enumerate(lacking):
            fields |= rows_without.astype(np.int64) << bit
        for code in np.unique(fields[fields > 0]):
            words = ",".join(name for bit, (name, _) in enumerate(lacking) if code >> bit & 1)
            status[(fields == code) & (status == "ok")] = f"inferred:{words}"


def numbers_of(rules: TableRules, inputs: Columns, rows: int) -> dict[str, np.ndarray]:
    """Numeric inputs as floats, with defaults where they are absent or blank."""
    result = {}
    for name in rules.numbers:
        values = as_floats(inputs[name]) if name in inputs else np.full(rows, np.nan)
        result[name] = np.where(np.isnan(values), rules.optional.get(name, np.nan), values)
    return result


class Kinds:
    """Classes of rows by :data:`CLASS`, numbered as they are met."""

    def __init__(self, rows: int) -> None:
        self.code = np.full(rows, -1, dtype=np.int64)
        self._known: dict[str, int] = {}

    def add(self, samples: Samples, start: int = 0) -> None:
        for key, rows in zip(samples.classes, samples.members, strict=True):
            name = "|".join(key.get(field, "") for field in CLASS)
            self.code[start + rows] = self._known.setdefault(name, len(self._known))

    def names(self) -> tuple[str, ...]:
        return tuple(self._known)


def choose(
    into: tuple[np.ndarray, np.ndarray], target: Target, samples: Samples, fit: Fit | None, start: int = 0
) -> None:
    """Name the kernel each row's stack would run, and keep the one it states."""
    chosen, stated = into
    name = target.family.kernels
    for key, rows in zip(samples.classes, samples.members, strict=True):
        part = fit.part(key) if fit is not None else None
        if name is None or part is None or part.choice is None:
            continue
        coords = {n: samples.coords[n][rows] for n in part.choice.coords}
        chosen[start + rows] = part.choice.kernels({**key, name: ""}, coords)
        stated[start + rows] = key.get(name, "")


def single_kernel(rules: TableRules, inputs: Columns, rows: int) -> np.ndarray:
    """Rows whose inputs appear with one kernel only."""
    if NAMED not in inputs:
        return np.zeros(rows, dtype=bool)
    others = [n for n in (*rules.device, *rules.texts, *rules.numbers) if n != NAMED]
    same = group_codes(inputs, others, rows)
    _, kernel = codes_of(inputs[NAMED])
    pairs = np.unique(same * (int(kernel.max(initial=0)) + 1) + kernel)
    count = np.bincount(pairs // (int(kernel.max(initial=0)) + 1), minlength=1)
    return np.asarray(count[same] == 1)


def blank_kernels(rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(rows, "", dtype=object), np.full(rows, "", dtype=object)


def copy_into(whole: Forecast, part: Forecast, rows: slice | np.ndarray) -> None:
    for name in ("seconds", "low", "high", "limit", "kernel", "depth"):
        getattr(whole, name)[rows] = getattr(part, name)


def shipped_suites() -> Iterator[tuple[str, Suite]]:
    for name in TABLES:
        yield name, suite_of(TABLES.get(name))


for _name, _suite in shipped_suites():
    SUITES.register(_name)(_suite)
