"""``python -m speedlight.validation.training TABLE``: fit what physics leaves of training steps, write ``costs/fits/training.json``."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

import numpy as np

from ...costs.training import EMPTY, FILE, NAME, TrainingFit, shipped, written
from ...evidence.tables import fingerprint, read_table
from .fit import beyond, ends_of, left_out, outside, solved
from .observed import Observed, observed

FEWEST = 12  # rows of a sort that has errors of its own
ROUNDS = 2


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("table", type=Path)
    asked.add_argument("--rounds", type=int, default=ROUNDS, help="times the engine is asked anew")
    asked.add_argument("--from-shipped", action="store_true", help="start at the fit that ships instead of at none")
    asked.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "costs" / "fits" / FILE)
    options = asked.parse_args()
    table = read_table(options.table)
    fit = shipped() if options.from_shipped else EMPTY
    for number in range(options.rounds):
        print(f"round {number + 1}", file=sys.stderr)
        rows = list(observed(table, fit, lambda said: print(said, file=sys.stderr)))
        fit = fitted(rows, fit, str(options.table))
        options.out.write_bytes(written(fit))
        for entry in fit.header["cross_validation"]:
            print(entry, file=sys.stderr)
    return 0


def fitted(rows: list[Observed], fit: TrainingFit, path: str) -> TrainingFit:
    """One round: entries, the spread of errors with groups and with sources left out."""
    steps = [r.step for r in rows]
    groups = [s.group for s in steps]
    by_group = left_out(steps, groups, fit)
    by_source = left_out(steps, [r.source for r in rows], fit)
    sorts = np.array([r.sort for r in rows])
    spread = {}
    for kind in ("dense", "experts"):
        mine = np.array([s.endswith(kind) for s in sorts])
        if mine.any():
            spread[f"|{kind}"] = ends_of(
                beyond(by_source, steps)[mine], [g for g, m in zip(groups, mine, strict=True) if m]
            )
    for sort in np.unique(sorts):
        mine = sorts == sort
        if mine.sum() >= FEWEST:
            spread[str(sort)] = ends_of(
                beyond(by_group, steps)[mine], [g for g, m in zip(groups, mine, strict=True) if m]
            )
    header = {
        "id": f"{NAME} {date.today().isoformat()}", "family": NAME, "date": date.today().isoformat(),
        "tables": [{"name": Path(path).name, "rows": len(rows), "fingerprint": fingerprint(path)}],
        "cross_validation": [
            errors("group", by_group, outside(by_group, steps)), errors("source", by_source, outside(by_source, steps)),
        ],
    }  # fmt: skip
    seen = frozenset((s.key["stack"], s.key["architecture"]) for s in steps)
    return TrainingFit(header, solved(steps, fit), spread, seen)


def errors(left: str, error: np.ndarray, scored: np.ndarray) -> dict[str, object]:
    """Errors as rows are scored (:func:`.fit.outside`), and of the point alone."""
    ape, point = np.abs(np.expm1(-scored)), np.abs(np.expm1(-error))
    return {
        "leave": left, "n": int(ape.size), "median_ape": round(float(np.median(ape)), 4), "mape": round(float(ape.mean()), 4),
        "point_median_ape": round(float(np.median(point)), 4), "point_mape": round(float(point.mean()), 4),
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
