"""Refit the bends of serving engines: ``python -m speedlight.validation.deployments TABLE [OUT.json]``."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np

from ...costs.calibration.samples import as_floats
from ...evidence.tables import base_name, fingerprint, read_table
from ..suites.deployments import COLUMNS, SUITE, group_keys
from .answers import said_of
from .fitting import ends, errors, folds_of, out_of_fold, solve
from .rows import deployments

OUT = Path(__file__).parents[2] / "engine" / "serving" / "fits" / "serving.json"


def main(arguments: list[str]) -> int:
    """Fit to every row and write the values, with ends of intervals from rows left out by configuration."""
    table = read_table(arguments[0])
    inputs = SUITE.inputs(table)
    said = said_of(deployments(inputs, table.rows))
    measured = np.stack([as_floats(table.columns[c]) for c in COLUMNS], 1)
    theta = solve(said, measured, np.ones(table.rows, dtype=bool))
    apart = out_of_fold(said, measured, folds_of(group_keys(inputs, table.rows), 5))
    reach = ends(said, measured, apart)
    header: dict[str, object] = {
        "id": f"serving@{date.today().isoformat()}", "date": date.today().isoformat(),
        "procedure": "speedlight.validation.deployments", "cross_validation": [],
        "tables": [{"name": base_name(table.path), "rows": table.rows, "fingerprint": fingerprint(table.path)}],
    }  # fmt: skip
    values = {n: round(float(v), 4) for n, v in zip(said.design.names, theta, strict=True) if abs(v) >= 5e-4}
    out = Path(arguments[1]) if len(arguments) > 1 else OUT
    header["errors_by_group"] = errors(said, measured, apart[0])
    text = json.dumps({"header": header, "ends": reach, "values": values}, indent=1, sort_keys=True)
    out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
