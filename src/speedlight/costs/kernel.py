"""One question about kernels of a measured table's sort: how long do these sizes take on this machine?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .._foundation.folding import fold
from ..hardware.machine import Machine
from . import families  # noqa: F401  registers the tables
from .calibration.model import Estimate, estimate
from .calibration.predict import Forecast, forecast
from .calibration.samples import TABLES, assemble
from .calibration.store import shipped

FOLD_FROM = 4096  # rows from which equal ones are sought


def ask(table: str, machine: Machine, texts: Mapping[str, str], sizes: Mapping[str, np.ndarray | float]) -> Forecast:
    """Predict kernels as a table's rows, equal sizes once.

    Args:
        table: name of a kernel table (``gemm``, ``moe`` …): its columns are the arguments' names.
        machine: where.
        texts: its text columns (``framework``, ``gemm_dtype``, ``kernel_source`` …); absent ones are blank.
        sizes: its numeric columns, numbers or arrays of one length.

    Raises:
        UnknownName: no such table. BadInput: a column is missing, of another length, or a size is not usable.
    """
    rules = TABLES.get(table)
    missing = [n for n in rules.numbers if n not in sizes and n not in rules.optional]
    unknown = [n for n in (*texts, *sizes) if n not in rules.texts and n not in rules.numbers]
    if missing or unknown:
        named = f"lacks {missing[0]!r}" if missing else f"has no {unknown[0]!r}"
        expected = "sizes " + ", ".join(rules.numbers) + " and texts " + ", ".join(rules.texts)
        raise BadInput(f"a question about {table} {named}", expected=expected)
    try:
        columns = dict(
            zip(sizes, np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in sizes.values())), strict=True)
        )
    except ValueError:
        raise BadInput(
            f"sizes of a {table} have different lengths", expected="numbers, or arrays of one length"
        ) from None
    columns = {name: np.ascontiguousarray(values.reshape(-1)) for name, values in columns.items()}
    rows = len(next(iter(columns.values())))
    folded = fold(list(columns.values())) if rows >= FOLD_FROM else None
    if folded is None:
        return _answer(table, machine, texts, columns, rows)
    first, sort = folded
    few = _answer(table, machine, texts, {n: v[first] for n, v in columns.items()}, first.size)
    return Forecast(*(getattr(few, n)[sort] for n in ("seconds", "low", "high", "limit", "kernel", "depth")))


def ask_one(table: str, machine: Machine, texts: Mapping[str, str], sizes: Mapping[str, float]) -> Estimate:
    """One kernel, as floats: the same numbers as :func:`ask` without an array's overhead.

    Raises:
        UnknownName, BadInput: as :func:`ask`; also where the family has no fit.
    """
    rules = TABLES.get(table)
    target = rules.targets[0]
    fit = shipped(target.family.name)
    cls = {**dict.fromkeys(rules.texts, ""), **texts}
    rows: dict[str, Any] = {**rules.optional, **{n: float(v) for n, v in sizes.items()}}
    key = dict(rules.key(cls, machine))
    part = fit.part(key) if fit is not None else None
    if part is None:
        raise BadInput(f"{table} has no fit for {', '.join(key.values())}", expected="a table with a shipped fit")
    view = target.view(cls, rows, machine)
    key["version"] = key.get("version") or part.version(key)
    name = target.family.kernels
    if name is not None and not key.get(name) and part.choice is not None:
        key[name] = str(part.choice.kernels(key, view.coords))
    return estimate(part, key, view.terms, view.coords, view.limit)


def _answer(
    table: str, machine: Machine, texts: Mapping[str, str], columns: Mapping[str, np.ndarray], rows: int
) -> Forecast:
    rules = TABLES.get(table)
    target = rules.targets[0]
    samples = assemble(rules, target, {**columns, **{n: _constant(t, rows) for n, t in texts.items()}}, rows, machine)
    bad = np.flatnonzero(samples.status != "ok")
    if bad.size:
        raise BadInput(f"{table}: {samples.status[bad[0]]} at point {bad[0]}", expected="whole sizes in a known format")
    return forecast(target.family, samples, shipped(target.family.name))


def _constant(text: str, rows: int) -> np.ndarray:
    values = np.empty(rows, dtype=object)
    values[:] = text
    return values
