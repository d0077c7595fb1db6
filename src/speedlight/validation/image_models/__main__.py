"""Refit the kernels of modules to measured image models and write the fit file.

    python -m speedlight.validation.image_models [--data DIR] [--out DIR] [--keep DIR] [--share N]

Looks at every question of the table (the better part of an hour on one core; ``--keep`` makes it resumable), leaves out
each fifth of the defining modules and each device, and fits to all rows. Needs the ``fit`` extra and pyarrow.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from ...costs.calibration.store import save
from ...evidence.tables import read_table
from .cross import rows_of
from .fitting import TABLE, fit

FITS = Path(__file__).parents[2] / "costs" / "fits"


@click.command()
@click.option("--data", default=lambda: os.environ.get("SPEEDLIGHT_DATA", "../shared/data"), help="the data folder")
@click.option("--out", default=str(FITS), help="where the fit file goes")
@click.option("--keep", default=None, help="folder of kernels looked at, to resume from")
@click.option("--share", default=1, help="one in so many models")
def refit(data: str, out: str, keep: str | None, share: int) -> None:
    """Refit from vision_throughput."""

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    path = Path(data) / "models" / f"{TABLE}.parquet"
    start = time.perf_counter()
    rows, failed = rows_of(read_table(path), Path(keep) if keep else None, progress, share)
    for reason in sorted(set(failed.values()))[:20]:
        progress(f"not looked at: {reason}")
    made = fit(rows, path, progress, share)
    save(made, Path(out) / f"{made.family}.npz")
    found = ", ".join(
        f"{c['leave']} {c['median_ape']:.1%} / {c['mape']:.1%} (80 % interval holds {c['coverage_80']:.0%})"
        for c in made.header["cross_validation"]
    )
    print(f"{made.header['id']}, {rows.group.size} rows: {found}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    refit()
