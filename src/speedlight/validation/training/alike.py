"""Rows in an order that lowers every program once."""

from __future__ import annotations

from typing import Any

from ..cells import records
from ..suite import Columns


def enumerate_alike(inputs: Columns, rows: int) -> list[tuple[int, dict[str, Any]]]:
    """(number, cells) of every row, those whose programs are alike together: a program is lowered once and kept for a while."""
    numbered = list(enumerate(records(inputs, rows)))
    return sorted(
        numbered,
        key=lambda r: [str(r[1].get(name, "")) for name in ("model", "software", "precision", "seq_len", "gpu")],
    )
