"""Questions → the kernels they run, with analytic costs and shapes: what efficiencies are fitted to.

A pass over a thousand models takes the better part of an hour; each question's kernels can be kept in a folder, so that an
interrupted pass goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..._foundation.errors import SpeedlightError
from ..._foundation.files import write_atomically
from ..._foundation.version import VERSION
from ...costs.families.module_kernels import key_of
from ...costs.families.module_views import SERIAL, TERMS, coords_of, terms_of
from ...costs.refit.solve import Data
from ...costs.refit.whole import Kernels, Sort, Wholes
from ...engine.uncalibrated import analytic_kernels
from ..suite import Progress
from .questions import Question

FIELDS = ("device", "architecture", "kind", "framework", "version", "layout", "op")
Table = dict[str, np.ndarray]  # columns: row, count, "t:" terms, "c:" coordinates, "k:" key fields


@dataclass(frozen=True)
class Observed:
    """Rows whose kernels are known.

    Attributes:
        rows: row number of each.
        tables: sort → one entry a kernel; ``row`` counts in ``rows``.
        failed: row number → why its kernels are not known.
    """

    rows: np.ndarray
    tables: Mapping[str, Table]
    failed: Mapping[int, str]

    def wholes(self, measured: np.ndarray) -> Wholes:
        """With the seconds measured of each of ``rows``."""
        kernels: dict[Sort, Kernels] = {}
        for sort, table in self.tables.items():
            for kind in np.unique(table["k:kind"]).tolist():
                own = table["k:kind"] == kind
                kernels[sort, kind] = _kernels({name: column[own] for name, column in table.items()})
        return Wholes(kernels, measured, np.ones(self.rows.size))


def _kernels(table: Table) -> Kernels:
    keys, names = {}, {}
    for field in FIELDS:
        values, codes = np.unique(table[f"k:{field}"], return_inverse=True)
        keys[field], names[field] = codes.astype(np.int32), tuple(values.tolist())
    terms = {n: table[f"t:{n}"] for n in (*TERMS, *SERIAL)}
    coords = {n[2:]: v for n, v in table.items() if n.startswith("c:")}
    ones = np.ones(table["row"].size)
    return Kernels(Data(terms, coords, keys, names, ones, ones), table["row"], table["count"])


def observe(
    asked: Sequence[tuple[Question, np.ndarray]], batch: np.ndarray, keep: Path | None, progress: Progress
) -> Observed:
    """Look at every question.

    Args:
        asked: questions with their rows.
        batch: of every row of the table.
        keep: folder of what was looked at before, and is looked at now.
    """
    parts: dict[str, list[Table]] = {}
    rows: list[np.ndarray] = []
    failed: dict[int, str] = {}
    base = 0
    for number, (question, own) in enumerate(asked):
        if number % 50 == 0:
            progress(f"kernels of {question.model} ({number} of {len(asked)} questions)")
        try:
            found = _kept(question, batch[own], keep)
        except SpeedlightError as error:
            failed |= dict.fromkeys(own.tolist(), str(error).splitlines()[0])
            continue
        for sort, table in found.items():
            parts.setdefault(sort, []).append({**table, "row": table["row"] + base})
        rows.append(own)
        base += own.size
    tables = {s: {n: np.concatenate([t[n] for t in many]) for n in many[0]} for s, many in parts.items()}
    return Observed(np.concatenate(rows) if rows else np.zeros(0, dtype=int), tables, failed)


def _kept(question: Question, batch: np.ndarray, keep: Path | None) -> dict[str, Table]:
    if keep is None:
        return kernels_of(question, batch)
    name = json.dumps([VERSION, asdict(question), batch.tolist()], sort_keys=True)
    path = keep / f"{question.model}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Table] = {}
            for column in file.files:
                sort, _, name = column.partition("|")
                found.setdefault(sort, {})[name] = file[column]
            return found
    found = kernels_of(question, batch)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{f"{s}|{n}": v for s, t in found.items() for n, v in t.items()})  # type: ignore[arg-type]
    keep.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
    return found


def kernels_of(question: Question, batch: np.ndarray) -> dict[str, Table]:
    """The question's kernels by sort, at every batch."""
    size = batch.size
    machine, kernels = analytic_kernels(question.scenario(batch.astype(float)))
    columns: dict[str, dict[str, list[np.ndarray]]] = {}
    for each in kernels:
        key = key_of(each.kernel, machine, question.stack.partition("@")[0])
        if not key["sort"]:
            continue
        own = columns.setdefault(key["sort"], {})
        numbers = {"row": np.arange(size), "count": each.count}
        numbers |= {f"t:{n}": v for n, v in terms_of(each.cost, machine).items()}
        numbers |= {f"c:{n}": v for n, v in coords_of(each.kernel, each.values, machine).items()}
        for name, value in numbers.items():
            own.setdefault(name, []).append(np.broadcast_to(np.asarray(value), (size,)))
        for field in FIELDS:
            own.setdefault(f"k:{field}", []).append(np.full(size, key[field]))
    return {sort: {n: np.concatenate(v) for n, v in own.items()} for sort, own in columns.items()}
