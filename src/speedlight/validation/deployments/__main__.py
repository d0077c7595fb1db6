"""Refit the bends of serving engines: ``python -m speedlight.validation.deployments TABLE [OUT.json]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ...costs.calibration.samples import as_floats
from ...engine.serving.serving_fit import Bends
from ...evidence.tables import Table, base_name, fingerprint, read_table
from ..suites.deployments import COLUMNS, SUITE, folds, outcomes
from ..validate import Report, entry
from .answers import Said, points, said_of
from .fitting import centres, ends, errors, out_of_fold, solve
from .rows import deployments

OUT = Path(__file__).parents[2] / "engine" / "serving" / "fits" / "serving.json"


def main(arguments: list[str]) -> int:
    """Fit to every row and write the values, with ends of intervals from rows left out by configuration, and errors left out
    by configuration and by device."""
    table = read_table(arguments[0])
    inputs = SUITE.inputs(table)
    said = said_of(deployments(inputs, table.rows))
    measured = np.stack([as_floats(table.columns[c]) for c in COLUMNS], 1)
    theta = solve(said, measured, np.ones(table.rows, dtype=bool))
    apart = {by: out_of_fold(said, measured, folds(inputs, table.rows, by)) for by in ("group", "device")}
    reach = ends(said, measured, apart["group"])
    middles = centres(said, measured, points(said, theta)[0], np.ones(table.rows, dtype=bool))
    header: dict[str, object] = {
        "id": f"serving@{date.today().isoformat()}", "date": date.today().isoformat(),
        "procedure": "speedlight.validation.deployments", "cross_validation": left_out(table, said, measured, apart),
        "tables": [{"name": base_name(table.path), "rows": table.rows, "fingerprint": fingerprint(table.path)}],
    }  # fmt: skip
    values = {n: round(float(v), 4) for n, v in zip(said.design.names, theta, strict=True) if abs(v) >= 5e-4}
    out = Path(arguments[1]) if len(arguments) > 1 else OUT
    header["errors_by_group"] = errors(said, measured, apart["group"][0])
    text = json.dumps({"header": header, "ends": reach, "centres": middles, "values": values}, indent=1, sort_keys=True)
    out.write_text(text + "\n", encoding="utf-8")
    return 0


def left_out(
    table: Table, said: Said, measured: np.ndarray, apart: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> dict[str, list[dict[str, Any]]]:
    """By column, errors of each sort of row by what was left out: averages over classes, as every fit's
    header holds them, and over rows."""
    found: dict[str, list[dict[str, Any]]] = {c: [] for c in COLUMNS}
    for by, (point, least, most) in apart.items():
        reach = Bends({}, {}, ends(said, measured, (point, least, most)))
        report = Report(table, SUITE, outcomes(said, point, least, most, reach))
        for part, told in report.parts().items():
            for column, average in told["averages"].items():
                found[column].append({**entry(by, average, told["metrics"][column]), "part": part})
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
