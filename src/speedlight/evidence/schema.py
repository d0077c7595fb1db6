"""What every column of a measured table holds: records in ``schemas/*.yaml``, one file a kind of evidence.

A user's own file works with the schema of the table it is named after (:mod:`.check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import msgspec

from .._foundation.errors import UnknownName
from .._foundation.files import parse_yaml

KINDS = ("kernels", "models", "serving", "energy", "traces", "published")


class Column(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One column.

    Attributes:
        type: what it holds.
        means: in a few words.
        unit: of its numbers.
        role: ``input``; ``measured`` is never handed to a predictor; ``fact`` is known of a row and no input.
        optional: a prediction does without it.
        blank: empty cells are meant (elsewhere they are missing).
    """

    type: Literal["text", "integer", "number", "boolean", "any"]
    means: str
    unit: str = ""
    role: Literal["input", "measured", "fact"] = "input"
    optional: bool = False
    blank: bool = False

    def describe(self) -> str:
        return self.means + (f" ({self.unit})" if self.unit else "")


class _Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    rows: str
    columns: tuple[str, ...]
    group: tuple[str, ...] = ()
    own: dict[str, Column] = {}


class _Kind(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    schema: int
    kind: str
    provenance: str
    licence: str
    grade: str
    conditions: str
    vocabulary: dict[str, Column]
    tables: dict[str, _Table]


class TableSchema(msgspec.Struct, frozen=True):
    """One table.

    Attributes:
        name: base name of its file.
        kind: its folder: one of :data:`KINDS`.
        rows: what one row is.
        columns: by name, in file order.
        group: columns left out as a whole in cross-validation.
        provenance, licence, grade, conditions: of all tables of the kind.
    """

    name: str
    kind: str
    rows: str
    columns: Mapping[str, Column]
    group: tuple[str, ...]
    provenance: str
    licence: str
    grade: str
    conditions: str

    def of(self, role: str) -> tuple[str, ...]:
        """Names of the columns with a role."""
        return tuple(name for name, column in self.columns.items() if column.role == role)


@lru_cache(maxsize=1)
def schemas() -> Mapping[str, TableSchema]:
    """All schemas by table name."""
    found: dict[str, TableSchema] = {}
    for kind in KINDS:
        text = (files(__package__) / "schemas" / f"{kind}.yaml").read_text(encoding="utf-8")
        data = msgspec.convert(parse_yaml(text, f"{kind}.yaml", trusted=True), _Kind)
        for name, table in data.tables.items():
            known = {**data.vocabulary, **table.own}
            columns = {c: known[c] for c in table.columns}
            found[name] = TableSchema(
                name, kind, table.rows, columns, table.group, data.provenance, data.licence, data.grade, data.conditions
            )
    return found


def schema_of(name: str) -> TableSchema:
    """The schema of a table, by base name.

    Raises:
        UnknownName: if no table is called that.
    """
    try:
        return schemas()[name]
    except KeyError:
        raise UnknownName("table", name, schemas()) from None


@lru_cache(maxsize=1)
def text_columns() -> frozenset[str]:
    """Columns that hold text wherever they appear: a CSV's version ``0.20`` is no number."""
    kinds: dict[str, set[str]] = {}
    for table in schemas().values():
        for name, column in table.columns.items():
            kinds.setdefault(name, set()).add(column.type)
    return frozenset(name for name, types in kinds.items() if types == {"text"})
