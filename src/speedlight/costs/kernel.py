"""One question about kernels of a measured table's sort: how long do these sizes take on this machine?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .._foundation.folding import fold
from ..hardware.machine import Machine
from . import families  # noqa: F401  registers the tables
from .calibration.local import local_of
from .calibration.model import Estimate, estimate
from .calibration.predict import Forecast, at, class_looks, enter
from .calibration.samples import TABLES, TableRules, numbers_of
from .calibration.store import shipped

FOLD_FROM = 4096  # rows from which equal ones are sought
CHUNK = 1 << 14  # rows priced at once: what keeps temporaries inside a core's cache


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
    first, sort = folded if folded is not None else (np.arange(rows), None)
    numbers, faults = numbers_of(rules, at(columns, first) if folded is not None else columns, first.size)
    for name, bad in faults.items():
        raise BadInput(f"{table}: invalid:{name} at point {first[bad.argmax()]}", expected="whole sizes")
    said = _answer(rules, machine, texts, numbers, first.size)
    if sort is None:
        return said
    return Forecast(*(getattr(said, n).take(sort) for n in ("seconds", "low", "high", "limit", "kernel", "depth")))


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
    rules: TableRules, machine: Machine, texts: Mapping[str, str], numbers: Mapping[str, np.ndarray], rows: int
) -> Forecast:
    """Valid sizes, a cacheful of them at a time."""
    target = rules.targets[0]
    family, fit = target.family, shipped(target.family.name)
    cls = {**dict.fromkeys(rules.texts, ""), **texts}
    numeric, named = [np.empty(rows) for _ in range(4)], [np.empty(rows, dtype=object) for _ in range(2)]
    said = Forecast(*numeric, *named)
    key = dict(rules.key(cls, machine))
    local = local_of(machine.calibrations, family.name, key.get("framework", ""))
    for start in range(0, rows, CHUNK):
        some = slice(start, min(start + CHUNK, rows))
        view = target.view(cls, {n: v[some] for n, v in numbers.items()}, machine)
        said.limit[some] = view.limit
        for look in class_looks(family, fit, key, some, view.terms, view.coords):
            enter(said, family, look, said.limit[look.rows], local)
    return said
