"""Refit published inference speeds: ``python -m speedlight.validation.published TABLE [OUT.json]``."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np

from ...costs.calibration.samples import as_floats
from ...evidence.tables import base_name, fingerprint, read_table
from ..suites import inference

OUT = Path(__file__).parent / "fits" / "inference.json"


def main(arguments: list[str]) -> int:
    """Fit to every row in scope and write the values, with ends of intervals from devices left out."""
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
        "id": f"inference@{today}", "date": today, "procedure": "speedlight.validation.published", "cross_validation": [],
        "tables": [{"name": base_name(table.path), "rows": table.rows, "fingerprint": fingerprint(table.path)}],
    }  # fmt: skip
    out = Path(arguments[1]) if len(arguments) > 1 else OUT
    text = json.dumps({"header": header, "ends": ends, "values": fit.values}, indent=1, sort_keys=True)
    out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
