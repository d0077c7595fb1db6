"""Questions → the kernels they run, with analytic costs and shapes: what efficiencies are fitted to.

A pass over a thousand models takes minutes; each model's kernels can be kept in a folder, so that an interrupted pass goes on
where it stopped.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.collecting import seldom
from ..._foundation.errors import SpeedlightError
from ..._foundation.files import write_atomically
from ..._foundation.version import VERSION
from ...costs.cost import Cost
from ...costs.families.module_kernels import key_of, memory_of
from ...costs.families.module_views import SERIAL, TERMS, coords_of, terms_of
from ...costs.refit.solve import Data
from ...costs.refit.whole import Kernels, Sort, Wholes
from ...engine.measured.uncalibrated import analytic_kernels
from ...engine.questions.resolve import model_graph
from ...hardware.catalogue import load_machine
from ...hardware.machine import Machine
from ...lowering.kernels import Kernel, KernelValues
from ..suite import Progress
from .networks import amounts
from .questions import Question

FIELDS = ("device", "architecture", "kind", "framework", "version", "layout", "op")
KIND = FIELDS.index("kind")
Key = tuple[str, ...]  # values of FIELDS
Asked = tuple[Question, np.ndarray]  # with its rows of the table


@dataclass(frozen=True)
class Seen:
    """Kernels of one sort.

    Attributes:
        columns: an entry a kernel: ``row``, ``count``, ``key`` (place in ``keys``), "t:" terms, "c:" coordinates.
        keys: classes of kernels.
    """

    columns: Mapping[str, np.ndarray]
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Observed:
    """Rows whose kernels are known.

    Attributes:
        rows: row number of each.
        amounts: of each one's network (:func:`.networks.amounts`).
        tables: sort → its kernels; ``row`` counts in ``rows``.
        failed: row number → why its kernels are not known.
    """

    rows: np.ndarray
    amounts: np.ndarray
    tables: Mapping[str, Seen]
    failed: Mapping[int, str]

    def wholes(self, measured: np.ndarray) -> Wholes:
        """With the seconds measured of each of ``rows``."""
        kernels: dict[Sort, Kernels] = {}
        for sort, seen in self.tables.items():
            kinds = np.array([key[KIND] for key in seen.keys])
            for kind in np.unique(kinds).tolist():
                own = np.flatnonzero((kinds == kind)[seen.columns["key"]])
                kernels[sort, kind] = _kernels({name: column[own] for name, column in seen.columns.items()}, seen.keys)
        return Wholes(kernels, measured, np.ones(self.rows.size))


def _kernels(columns: Mapping[str, np.ndarray], keys: Sequence[Key]) -> Kernels:
    codes, names = {}, {}
    for place, field in enumerate(FIELDS):
        known = tuple(dict.fromkeys(key[place] for key in keys))
        of = np.array([known.index(key[place]) for key in keys], dtype=np.int32)
        codes[field], names[field] = of[columns["key"]], known
    memories = [memory_of(load_machine(name)) for name in names["device"]]
    names["memory"] = tuple(dict.fromkeys(memories))
    codes["memory"] = np.array([names["memory"].index(m) for m in memories], dtype=np.int32)[codes["device"]]
    terms = {n: columns[f"t:{n}"] for n in (*TERMS, *SERIAL)}
    coords = {n[2:]: v for n, v in columns.items() if n.startswith("c:")}
    ones = np.ones(columns["row"].size)
    return Kernels(Data(terms, coords, codes, names, ones, ones), columns["row"], columns["count"])


def observe(asked: Sequence[Asked], batch: np.ndarray, keep: Path | None, progress: Progress) -> Observed:
    """Look at every question.

    Args:
        asked: questions with their rows, those of one model one after another.
        batch: of every row of the table.
        keep: folder of what was looked at before, and is looked at now.
    """
    models = [list(some) for _, some in itertools.groupby(asked, lambda each: each[0].model)]
    parts: dict[str, list[Seen]] = {}
    rows: list[np.ndarray] = []
    amount_of: list[np.ndarray] = [np.zeros((0, 3))]
    failed: dict[int, str] = {}
    base = 0
    with seldom():
        for number, some in enumerate(models):
            if number % 20 == 0:
                progress(f"kernels of {some[0][0].model} ({number} of {len(models)} models)")
            mine, amount, found, without = _kept(some, batch, keep)
            failed |= without
            amount_of.append(amount)
            for sort, seen in found.items():
                parts.setdefault(sort, []).append(Seen({**seen.columns, "row": seen.columns["row"] + base}, seen.keys))
            rows.append(mine)
            base += mine.size
    tables = {sort: _joined(many) for sort, many in parts.items()}
    whole = np.concatenate(rows) if rows else np.zeros(0, dtype=int)
    return Observed(whole, np.concatenate(amount_of), tables, failed)


def joined(first: Observed, second: Observed) -> Observed:
    """Rows of one, then those of the other."""
    tables: dict[str, list[Seen]] = {sort: [seen] for sort, seen in first.tables.items()}
    for sort, seen in second.tables.items():
        columns = {**seen.columns, "row": seen.columns["row"] + first.rows.size}
        tables.setdefault(sort, []).append(Seen(columns, seen.keys))
    return Observed(
        np.concatenate([first.rows, second.rows]), np.concatenate([first.amounts, second.amounts]),
        {sort: _joined(many) for sort, many in tables.items()}, {**first.failed, **second.failed},
    )  # fmt: skip


def _joined(many: Sequence[Seen]) -> Seen:
    """One after another; equal keys are one."""
    keys: dict[Key, int] = {}
    codes = []
    for seen in many:
        of = np.array([keys.setdefault(key, len(keys)) for key in seen.keys], dtype=np.int32)
        codes.append(of[seen.columns["key"]])
    columns = {name: np.concatenate([seen.columns[name] for seen in many]) for name in many[0].columns}
    return Seen({**columns, "key": np.concatenate(codes)}, tuple(keys))


# Rows, their networks' amounts, kernels by sort, rows that failed.
Looked = tuple[np.ndarray, np.ndarray, dict[str, Seen], dict[int, str]]


def _kept(some: Sequence[Asked], batch: np.ndarray, keep: Path | None) -> Looked:
    """A model's kernels, from the folder where they were looked at before."""
    if keep is None:
        return _looked_at(some, batch)
    said = [[asdict(question), own.tolist(), batch[own].tolist()] for question, own in some]
    name = hashlib.sha256(json.dumps([VERSION, said], sort_keys=True).encode()).hexdigest()[:16]
    path = keep / f"{some[0][0].model}-{name}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return _read(file)
    rows, amount, found, failed = _looked_at(some, batch)
    columns = {f"{sort}|{name}": column for sort, seen in found.items() for name, column in seen.columns.items()}
    columns |= {f"{sort}|keys": np.array(seen.keys) for sort, seen in found.items()}
    columns |= {
        "rows": rows,
        "amounts": amount,
        "failed": np.array(list(failed), dtype=int),
        "why": np.array(list(failed.values()), dtype=str),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **columns)  # type: ignore[arg-type]
    keep.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
    return rows, amount, found, failed


def _read(file: Mapping[str, np.ndarray]) -> Looked:
    columns: dict[str, dict[str, np.ndarray]] = {}
    keys: dict[str, tuple[Key, ...]] = {}
    for name in file:
        sort, bar, column = name.partition("|")
        if bar and column == "keys":
            keys[sort] = tuple(tuple(str(value) for value in key) for key in file[name])
        elif bar:
            columns.setdefault(sort, {})[column] = file[name]
    failed = dict(zip(file["failed"].tolist(), file["why"].tolist(), strict=True))
    return file["rows"], file["amounts"], {sort: Seen(own, keys[sort]) for sort, own in columns.items()}, failed


def _looked_at(some: Sequence[Asked], batch: np.ndarray) -> Looked:
    parts: dict[str, list[Seen]] = {}
    rows: list[np.ndarray] = []
    amount: list[np.ndarray] = [np.zeros((0, 3))]
    failed: dict[int, str] = {}
    base = 0
    for question, own in some:
        try:
            found = kernels_of(question, batch[own])
            of = amounts(model_graph(question.scenario(1).program))
        except SpeedlightError as error:
            failed |= dict.fromkeys(own.tolist(), str(error).splitlines()[0])
            continue
        for sort, seen in found.items():
            parts.setdefault(sort, []).append(Seen({**seen.columns, "row": seen.columns["row"] + base}, seen.keys))
        rows.append(own)
        amount.append(np.tile(of, (own.size, 1)))
        base += own.size
    whole = np.concatenate(rows) if rows else np.zeros(0, dtype=int)
    return whole, np.concatenate(amount), {sort: _joined(many) for sort, many in parts.items()}, failed


def kernels_of(question: Question, batch: np.ndarray) -> dict[str, Seen]:
    """The question's kernels by sort, at every batch."""
    size = batch.size
    machine, kernels = analytic_kernels(question.scenario(batch.astype(float)))
    columns: dict[str, dict[str, list[np.ndarray]]] = {}
    keys: dict[str, dict[Key, int]] = {}
    for each in kernels:
        said = key_of(each.kernel, machine, question.stack.partition("@")[0])
        sort = said["sort"]
        if not sort:
            continue
        known = keys.setdefault(sort, {})
        code = known.setdefault(tuple(said[field] for field in FIELDS), len(known))
        numbers = {"row": np.arange(size), "count": each.count, "key": np.int32(code)}
        numbers |= described(each.kernel, each.values, each.cost, machine)
        shape = (each.several, size) if each.several else (size,)
        own = columns.setdefault(sort, {})
        for name, value in numbers.items():
            own.setdefault(name, []).append(np.broadcast_to(np.asarray(value), shape).ravel())
    return {
        sort: Seen({n: np.concatenate(v) for n, v in own.items()}, tuple(keys[sort])) for sort, own in columns.items()
    }


def described(kernel: Kernel, values: KernelValues, cost: Cost, machine: Machine) -> dict[str, Value]:
    """A kernel's terms and coordinates by the names of their columns."""
    return {
        **{f"t:{n}": v for n, v in terms_of(kernel, cost, machine).items()},
        **{f"c:{n}": v for n, v in coords_of(kernel, values).items()},
    }
