"""Every table of a folder that has a suite: what the accuracy page shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from .._foundation.errors import BadFile, BadInput, SpeedlightError
from ..evidence.tables import base_name
from .suite import SUITES, Progress
from .validate import quiet, validate

TABLES = ("*.parquet", "*.csv", "*.csv.gz")


def tables_of(folder: str | Path) -> Iterator[Path]:
    """Tables under a folder that a suite is named after, in the order of their names.

    Raises:
        BadFile: if there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadFile(f"{root} is no folder", expected="a folder of measured tables", hint="--data DIR names it")
    known = set(SUITES)
    found = {path for pattern in TABLES for path in root.rglob(pattern) if path.is_file()}
    yield from sorted((p for p in found if base_name(p) in known), key=lambda p: (base_name(p), str(p)))


def validate_all(
    folder: str | Path, progress: Progress = quiet, suites: Collection[str] = ()
) -> dict[str, Any]:  # fmt: skip
    """Validate every table by the fits that ship; the fits' headers hold the errors on data left out.

    Args:
        suites: names of those looked at; all where none is named.

    Returns:
        ``{"tables": [validate objects with "table"], "failed": [{"table", "error"}]}``.

    Raises:
        BadInput: if no table has a suite, or a named one no table.
    """
    answers, failed = [], []
    paths = [path for path in tables_of(folder) if not suites or base_name(path) in suites]
    absent = set(suites).difference(map(base_name, paths))
    if absent:
        raise BadInput(f"{folder} holds no table of {', '.join(sorted(absent))}", expected="names of suites it has")
    for path in paths:
        progress(str(path))
        try:
            answers.append({"table": path.name, **validate(path)})
        except SpeedlightError as error:
            failed.append({"table": path.name, "error": error.to_dict()})
    if not answers and not failed:
        raise BadInput(f"{folder} holds no table that a suite is named after", expected="one of " + ", ".join(SUITES))
    return {"tables": answers, "failed": failed}
