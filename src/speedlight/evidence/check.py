"""A file against the schema of its table. Differences are reported, never repaired: a file may lack what was not measured and
carry columns of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .schema import TableSchema
from .tables import Table

# What a column of a type may hold; numbers with blanks arrive as floats, columns without a value as null.
HOLDS = {
    "text": ("text",),
    "integer": ("integer", "number"),
    "number": ("integer", "number"),
    "boolean": ("boolean",),
    "any": ("text", "integer", "number", "boolean"),
}


@dataclass(frozen=True, slots=True)
class Differences:
    """How a file differs from a schema: names of columns, and of mistyped ones what they hold."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    mistyped: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.mistyped)


def differences(table: Table, schema: TableSchema) -> Differences:
    """Compare a file's columns with a schema."""
    mistyped = {
        name: held
        for name, column in schema.columns.items()
        if (held := table.types.get(name, "null")) != "null" and held not in HOLDS[column.type]
    }
    return Differences(
        tuple(n for n in schema.columns if n not in table), tuple(n for n in table.columns if n not in schema.columns),
        mistyped,
    )  # fmt: skip
