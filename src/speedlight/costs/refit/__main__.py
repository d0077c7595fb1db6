"""Refit cost families from the data folder and write their fit files.

    python -m speedlight.costs.refit [--data DIR] [--out DIR] [TABLE …]

Reproducible: the same data give the same files. Needs the ``fit`` extra (SciPy, scikit-learn) and pyarrow.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from ...evidence.tables import read_table
from .. import families  # noqa: F401  registers the tables
from ..calibration.samples import TABLES
from ..calibration.store import save
from .fitting import fit_target

HERE = Path(__file__).parent.parent / "fits"


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--data", default=lambda: os.environ.get("SPEEDLIGHT_DATA", "../shared/data"), help="the data folder")
@click.option("--out", default=str(HERE), help="where fit files go")
def refit(tables: tuple[str, ...], data: str, out: str) -> None:
    """Refit the named tables, or all."""
    Path(out).mkdir(parents=True, exist_ok=True)  # before minutes of fitting, not after
    for name in tables or sorted(TABLES):
        path = Path(data) / "kernels" / f"{name}.parquet"
        start = time.perf_counter()
        table = read_table(path)
        for target in TABLES.get(name).targets:
            fit = fit_target(TABLES.get(name), target, table, path, lambda text: print(text, file=sys.stderr))
            save(fit, Path(out) / f"{fit.family}.npz")
            print(summary(fit.header, time.perf_counter() - start), flush=True)


def summary(header: object, seconds: float) -> str:
    assert isinstance(header, dict)
    errors = ", ".join(
        f"{c['leave']} {c['median_ape']:.1%} / {c['mape']:.1%} (80 % interval holds {c['coverage_80']:.0%})"
        for c in header["cross_validation"]
    )
    return f"{header['id']}: {errors}; {seconds:.0f} s"


if __name__ == "__main__":
    refit()
