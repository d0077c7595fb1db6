"""SQLite exports of Nsight Systems (``nsys export --type sqlite``): kernels, copies, fills, runtime calls, NVTX ranges.

Schema: NVIDIA, "Nsight Systems User Guide", SQLite schema reference. A database is untrusted too: it is opened read-only with
its own schema distrusted, only tables are read (a view could compute without end), and every query runs under a budget.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..._foundation.errors import BadFile
from .trace import MAX_EVENTS, Columns, Trace

WANTED = "an export of `nsys export --type sqlite`"
_STEPS = 2_000_000_000  # instructions of SQLite's machine before a query is given up
_EVERY = 1_000_000

# Tables, the kind of their events, and the columns read: (start, end, name, process, thread, link, bytes).
_TABLES = (
    ("CUPTI_ACTIVITY_KIND_KERNEL", "kernel", "shortName", "deviceId", "streamId", "correlationId", ""),
    ("CUPTI_ACTIVITY_KIND_MEMCPY", "memcpy", "copyKind", "deviceId", "streamId", "correlationId", "bytes"),
    ("CUPTI_ACTIVITY_KIND_MEMSET", "memset", "", "deviceId", "streamId", "correlationId", "bytes"),
    ("CUPTI_ACTIVITY_KIND_RUNTIME", "runtime", "nameId", "", "globalTid", "correlationId", ""),
    ("NVTX_EVENTS", "annotation", "text", "", "globalTid", "", ""),
)
_COPIES = {1: "HtoD", 2: "DtoH", 3: "HtoA", 4: "AtoH", 8: "DtoD", 10: "PtoP"}


def is_database(path: Path) -> bool:
    """Whether a file starts as SQLite files do."""
    with path.open("rb") as stream:
        return stream.read(16) == b"SQLite format 3\x00"


def read_nsys(path: Path) -> Trace:
    """The trace of an export.

    Raises:
        BadFile: for what is no such export, damaged, or larger than this reads.
    """
    columns = Columns()
    try:
        base = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True)
        try:
            _guard(base)
            names = dict(_rows(base, "StringIds", ("id", "value")))
            for table, kind, name, process, thread, link, moved in _TABLES:
                wanted = ("start", "end", name, process, thread, link, moved)
                for row in _rows(base, table, wanted):
                    _take(columns, kind, row, names, path)
        finally:
            base.close()
    except sqlite3.Error as error:
        raise BadFile(f"cannot read {path}: {error}", expected=WANTED) from None
    if not len(columns):
        raise BadFile(f"{path} holds no kernels, copies or calls", expected=WANTED)
    return columns.trace(1e-9, source=path.name)


def _guard(base: sqlite3.Connection) -> None:
    base.execute("PRAGMA trusted_schema = OFF")
    base.execute("PRAGMA query_only = ON")
    base.execute("PRAGMA cell_size_check = ON")
    left = [_STEPS // _EVERY]

    def spend() -> int:
        left[0] -= 1
        return left[0] < 0

    base.set_progress_handler(spend, _EVERY)


def _rows(base: sqlite3.Connection, table: str, wanted: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Columns of a table, NULL for those it lacks; nothing where there is no such table."""
    kind = base.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if kind is None or kind[0] != "table":
        return
    present = {row[1] for row in base.execute(f"PRAGMA table_info({table})")}
    chosen = ", ".join(f'"{c}"' if c in present else "NULL" for c in wanted)
    yield from base.execute(f"SELECT {chosen} FROM {table}")


def _take(columns: Columns, kind: str, row: tuple[Any, ...], names: dict[Any, Any], path: Path) -> None:
    start, end, name, process, thread, link, moved = row
    if start is None or end is None:  # a mark
        return
    if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in (start, end)) or end < start:
        raise BadFile(f"{path}: an event lasts from {start!r} to {end!r}", expected="nanoseconds, in order")
    if len(columns) >= MAX_EVENTS:
        raise BadFile(f"{path} holds more than {MAX_EVENTS} events", hint="record fewer steps")
    if kind == "memcpy":
        text = f"Memcpy {_COPIES.get(name, '')}".strip()
    else:
        text = str(names.get(name, "") if isinstance(name, int) else name or kind)
    host = kind in ("runtime", "annotation")
    columns.add(
        kind, text[:500], "host" if host else f"device {process}", str(thread), float(start), float(end),
        link=link if isinstance(link, int) and link >= 0 else -1,
        moved=float(moved) if isinstance(moved, (int, float)) and moved >= 0 else math.nan,
    )  # fmt: skip
