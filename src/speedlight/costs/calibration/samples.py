"""Measured rows and kernels seen in one way: terms, coordinates, limit, class.

A *view* is what a fit sees of a kernel on a machine. A table's rules turn rows into views, a class of rows at a time; the
engine makes the same view of a lowered kernel, so that what is fitted is what is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.errors import BadInput, SpeedlightError, UnknownName
from ..._foundation.registry import Registry
from ...evidence.tables import codes_of
from ...hardware.catalogue import load_machine
from ...hardware.machine import LocalCalibration, Machine
from .blocks import Block
from .naming import instructions


@dataclass(frozen=True, slots=True)
class View:
    """What a fit sees.

    Attributes:
        terms: seconds by term at the machine's rates (0 where a term has no part).
        coords: coordinates, none of which contains a rate.
        limit: seconds below which physics allows nothing.
    """

    terms: Mapping[str, Value]
    coords: Mapping[str, Value]
    limit: Value


@dataclass(frozen=True)
class Rising:
    """A size that more of never costs less, and the view of other sizes that tells where the terms fall along it.

    Attributes:
        coord: log2 of the size.
        view: (key of a class, sizes by coordinate) → view on the device the key names.
        own: (term, coordinate that grows with the size) → how the log of the term rises along it before it is bent; the
            shared tables over that coordinate may take away no more than that.
    """

    coord: str
    view: Callable[[Mapping[str, str], Mapping[str, np.ndarray]], View]
    own: Mapping[tuple[str, str], Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """How a cost family is fitted.

    time = total · ((Σ_parallel (t · e)^p)^(1/p) + Σ_serial t · e), each efficiency's log the sum of its blocks.

    Attributes:
        name: of its fit file.
        parallel: terms that run at the same time; the p-norm lets the largest win, smoothly near a tie.
        serial: terms that add.
        power: p.
        partition: key fields whose values are fitted apart.
        shared: blocks fitted together over all devices.
        local: stages fitted one after another to what is left (of an architecture, then of a device); the blocks of a
            stage have the same ``per``.
        spread: axes of the error's scale.
        kernels: key field that names the kernel, which may be blank, or None.
        choice: coordinates the choice of kernel depends on.
        counted: terms that are counted exactly, and bent last (:func:`..refit.solve.held`). Their ridges act only where the joint fit of
            ``shared`` is solved to the end. Where none are named it stops early, which keeps near zero what rows hardly tell but
            shares out between what is common and what is particular by the order of steps; some tables are better so
            (``quantize_scale_matrix`` with a device left out: 7 % stopped at 3e-3, 11 % at 1e-4).
        rising: the size that local surfaces are made to rise with, or None.
        powers: p of partitions that have another than ``power``.
    """

    name: str
    parallel: tuple[str, ...]
    serial: tuple[str, ...]
    shared: tuple[Block, ...]
    local: tuple[tuple[Block, ...], ...]
    spread: tuple[Block, ...]
    partition: tuple[str, ...] = ()
    power: float = 3.0
    kernels: str | None = "kernel"
    choice: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    rising: Rising | None = None
    powers: Mapping[tuple[str, ...], float] = field(default_factory=dict)


def architecture_of(machine: Machine) -> str:
    """The kind of device kernels are built for: generation and main memory tell a server part from a desktop's.

    (Blackwell with HBM is compute capability 10.x, Blackwell with GDDR 12.x; Ampere 8.0 and 8.6 likewise.)
    """
    return f"{machine.architecture.split(' ')[0]}-{machine.main.name}"


def instructions_of(machine: Machine) -> str:
    """The instructions that drive a machine's matrix units (:func:`.naming.instructions`)."""
    return instructions(architecture_of(machine))


Rows = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Target:
    """A measured column and how it is predicted.

    Attributes:
        column: its name.
        family: what fits it.
        view: (class, rows, machine) → view; ``class`` holds the raw values of the key columns, ``rows`` the numeric
            inputs as floats.
        unit: seconds of one unit of the column.
    """

    column: str
    family: Family
    view: Callable[[Mapping[str, str], Rows, Machine], View]
    unit: float = 1.0


@dataclass(frozen=True)
class TableRules:
    """One table's rules (CONTRACT, ``validate``; data/README.md names the measured columns and group keys).

    Attributes:
        name: the table's base name, and the suite's.
        targets: predicted columns.
        measured: every column never handed to a predictor.
        numbers: numeric input columns with the least value each may have.
        texts: text columns that make up a class; absent ones count as blank.
        group: columns left out as a whole in cross-validation.
        slices: columns errors are reported by.
        key: (raw class, machine) → key fields of the fit (``device``, ``architecture``, ``framework``, ``format`` …).
        rates: measured columns whose greatest value is the limit, from a target: column → (target column, function of
            rows giving amount, so that rate = amount / seconds).
        optional: numeric columns that may be absent or blank, with the value then taken.
        device: column naming the device, else ``system``.
    """

    name: str
    targets: tuple[Target, ...]
    measured: tuple[str, ...]
    numbers: Mapping[str, float]
    texts: tuple[str, ...]
    group: tuple[str, ...]
    slices: tuple[str, ...]
    key: Callable[[Mapping[str, str], Machine], Mapping[str, str]]
    rates: Mapping[str, tuple[str, Callable[[Rows], np.ndarray]]] = field(default_factory=dict)
    optional: Mapping[str, float] = field(default_factory=dict)
    device: tuple[str, ...] = ("device", "system")


TABLES: Registry[TableRules] = Registry("table", "speedlight.tables")


@dataclass(frozen=True, slots=True)
class Samples:
    """A table's rows as a fit sees them; unusable rows hold NaN and say why in ``status``.

    Attributes:
        rows: number of rows of the table.
        classes: key fields of each class.
        members: row numbers of each class, ascending.
        terms, coords: one array a name, a value a row.
        limit: seconds.
        status: ``ok`` or the reason a row cannot be predicted.
        calibrations: what the user's own points say of a device, by its id.
    """

    rows: int
    classes: tuple[Mapping[str, str], ...]
    members: tuple[np.ndarray, ...]
    terms: Mapping[str, np.ndarray]
    coords: Mapping[str, np.ndarray]
    limit: np.ndarray
    status: np.ndarray
    calibrations: Mapping[str, tuple[LocalCalibration, ...]] = field(default_factory=dict)


def assemble(
    rules: TableRules, target: Target, columns: Mapping[str, np.ndarray], rows: int, on: Machine | None = None
) -> Samples:
    """Look at every row of a table; nothing is dropped and nothing raises for a bad row.

    Args:
        on: the machine of rows that name its device, or none that is known.
    """
    status = np.full(rows, "ok", dtype=object)
    numbers, faults = numbers_of(rules, columns, rows)
    for name, bad in faults.items():
        status[bad & (status == "ok")] = f"invalid:{name}"
    raw, index = classes_of(columns, (*_device_columns(rules, columns), *rules.texts), rows)
    terms = {name: np.zeros(rows) for name in (*target.family.parallel, *target.family.serial)}
    coords: dict[str, np.ndarray] = {}
    limit = np.full(rows, np.nan)
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(len(raw) + 1))
    classes: list[Mapping[str, str]] = []
    members: list[np.ndarray] = []
    calibrations: dict[str, tuple[LocalCalibration, ...]] = {}
    for number, cls in enumerate(raw):
        own = order[bounds[number] : bounds[number + 1]]
        own = own[status[own] == "ok"]
        if not own.size:
            continue
        try:
            machine = machine_of(rules, cls, on)
            view = target.view(cls, {name: values[own] for name, values in numbers.items()}, machine)
            key = rules.key(cls, machine)
        except (UnknownName, BadInput) as error:
            sort = "out-of-scope" if isinstance(error, OutOfScope) else "unsupported"
            status[own] = "unknown-device" if isinstance(error, _UnknownDevice) else f"{sort}:{_brief(error)}"
            continue
        for store, values in ((terms, view.terms), (coords, view.coords)):
            for name, value in values.items():
                if name not in store:
                    store[name] = np.full(rows, np.nan if store is coords else 0.0)
                store[name][own] = value
        limit[own] = view.limit
        calibrations[machine.device_id] = machine.calibrations
        classes.append(key)
        members.append(own)
    return Samples(rows, tuple(classes), tuple(members), terms, coords, limit, status, calibrations)


class _UnknownDevice(UnknownName):
    pass


class OutOfScope(BadInput):
    """Rows that state no time of a kernel (the zeros of a part that another kernel does): not predicted, and no lack of coverage."""


def machine_of(rules: TableRules, cls: Mapping[str, str], on: Machine | None = None) -> Machine:
    """The machine a row's device (or system) string names; ``on`` where it names that very device, or none that is known."""
    tried = [cls[name] for name in rules.device if cls.get(name)]
    for name in tried:
        try:
            found = load_machine(name, table=True)
        except SpeedlightError:
            continue
        return on if on is not None and on.device_id == found.device_id else found
    if on is not None:
        return on
    raise _UnknownDevice("device", ", ".join(tried) or "(none given)", ())


def classes_of(columns: Rows, names: Sequence[str], rows: int) -> tuple[list[dict[str, str]], np.ndarray]:
    """Distinct values of some text columns, and which of them each row has."""
    index = np.zeros(rows, dtype=np.int64)
    values: list[tuple[str, ...]] = [()]
    for name in names:
        column = columns.get(name)
        if column is None:
            values = [(*v, "") for v in values]
            continue
        own, codes = codes_of(column)
        joint = index * len(own) + codes
        present, index = np.unique(joint, return_inverse=True)
        texts = ["" if v is None or v != v else str(v) for v in own]
        values = [(*values[j // len(own)], texts[j % len(own)]) for j in present]
    return [dict(zip(names, v, strict=True)) for v in values], index


def _device_columns(rules: TableRules, columns: Rows) -> tuple[str, ...]:
    return tuple(name for name in rules.device if name in columns)


def numbers_of(
    rules: TableRules, columns: Rows, rows: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:  # fmt: skip
    """Numeric columns as floats, and which rows of which of them are no size."""
    result: dict[str, np.ndarray] = {}
    faults: dict[str, np.ndarray] = {}
    for name, least in rules.numbers.items():
        if name not in columns:
            result[name] = np.full(rows, rules.optional[name])
            continue
        values = as_floats(columns[name])
        if name in rules.optional:
            values = np.where(_blank(columns[name]), rules.optional[name], values)
        good = (values >= least) & (values == np.floor(values)) & (values < np.inf)  # none of which holds for NaN
        if not good.all():
            faults[name] = ~good
        result[name] = values
    return result, faults


def _blank(column: np.ndarray) -> np.ndarray:
    """Entries that are missing: None or NaN."""
    if column.dtype != object:
        return np.isnan(column) if column.dtype.kind == "f" else np.zeros(column.shape, dtype=bool)
    return np.asarray([v is None or v != v for v in column.tolist()], dtype=bool)


def as_floats(column: np.ndarray) -> np.ndarray:
    """A column as floats; what is no number becomes NaN."""
    try:
        return np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        return np.asarray([_number(v) for v in column], dtype=float)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _brief(error: SpeedlightError) -> str:
    return str(error).splitlines()[0][:80]
