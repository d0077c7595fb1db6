"""Refit published inference speeds: ``python -m speedlight.validation.published TABLE [OUT.json]``."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ...costs.calibration.samples import as_floats
from ...evidence.tables import Table, base_name, fingerprint, read_table
from ..suite import Leave
from ..suites import inference
from ..validate import Report, entry, quiet

OUT = Path(__file__).parent / "fits" / "inference.json"


def main(arguments: list[str]) -> int:
    """Fit to every row in scope and write the values, with ends of intervals from groups left out, and errors left out by
    group and by device."""
    table = read_table(arguments[0])
    inputs = inference.SUITE.inputs(table)
    questions = [inference.question({n: c[i] for n, c in inputs.items()}) for i in range(table.rows)]
    measured = {c: as_floats(table.columns[c]) for c in inference.PREDICTED}
    labels = inference.group_labels(inputs, table.rows, "group")
    apart = inference.left_out(questions, measured, labels)
    ends = inference.ends_of(questions, measured, [apart[label] for label in labels])
    fit = inference.fitted(questions, measured, np.ones(table.rows, dtype=bool))
    today = date.today().isoformat()
    header = {
        "id": f"inference@{today}", "date": today, "procedure": "speedlight.validation.published",
        "cross_validation": left_out(table),
        "tables": [{"name": base_name(table.path), "rows": table.rows, "fingerprint": fingerprint(table.path)}],
    }  # fmt: skip
    out = Path(arguments[1]) if len(arguments) > 1 else OUT
    text = json.dumps({"header": header, "ends": ends, "values": fit.values}, indent=1, sort_keys=True)
    out.write_text(text + "\n", encoding="utf-8")
    return 0


def left_out(table: Table) -> dict[str, list[dict[str, Any]]]:
    """By column, errors by what was left out: averages over classes, as every fit's header holds them, and over rows."""
    found: dict[str, list[dict[str, Any]]] = {c: [] for c in inference.PREDICTED}
    for by in ("group", "device"):
        report = Report(table, inference.SUITE, inference.cross(table, Leave(by), quiet))
        metrics = report.metrics()
        for column, average in report.averages().items():
            found[column].append(entry(by, average, metrics[column]))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
