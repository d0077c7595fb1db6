"""Rows of columns as dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .suite import Columns


def records(inputs: Columns, rows: int) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries; blank texts are empty."""
    for i in range(rows):
        row = {name: column[i] for name, column in inputs.items()}
        yield {n: "" if v is None or v != v else v for n, v in row.items()}
