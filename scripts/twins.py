"""How far a kernel table's rows of one device lie from the same rows of its twin: what no model of shapes can explain.

    python scripts/twins.py ../shared/data/kernels/moe.parquet b200_sxm b300_sxm

For every (framework, format, kernel): rows with equal inputs on both systems, the log ratio of their times less its median
in twelve classes of time (so that a faster clock or memory does not count), and of what is left the median and mean error
and the share of rows further than 20 % off.
"""

from __future__ import annotations

import click
import numpy as np
import pandas as pd

from speedlight.costs import families  # noqa: F401  registers the tables
from speedlight.costs.calibration.samples import TABLES

CLASSES, FAR = 12, 0.2


@click.command()
@click.argument("path", type=click.Path(exists=True))
@click.argument("one")
@click.argument("other")
def twins(path: str, one: str, other: str) -> None:
    """Compare the rows of two systems in a kernel table."""
    table = pd.read_parquet(path)
    rules = TABLES.get(path.rsplit("/", 1)[-1].split(".")[0])
    kind = [n for n in rules.texts if n != "version" and n in table]
    inputs = [*kind, *rules.numbers]
    (column,) = (t.column for t in rules.targets)
    mine, theirs = (table[table["system"] == s].groupby(inputs)[column].mean() for s in (one, other))
    both = pd.concat([mine.rename("one"), theirs.rename("other")], axis=1).dropna().reset_index()
    both["ratio"] = np.log(both["one"] / both["other"])
    print(f"{'class':<70} {'rows':>7} {'median':>7} {'mean':>7} {'> 20 %':>7}")
    errors = []
    for name, rows in both.groupby([n for n in kind if n != "distribution"]):
        size = pd.qcut(rows["other"], CLASSES, duplicates="drop")
        left = rows["ratio"] - rows.groupby(size, observed=True)["ratio"].transform("median")
        error = np.abs(np.exp(-left) - 1)
        errors.append((error.median(), error.mean(), (np.abs(left) > FAR).mean()))
        print(
            f"{' '.join(map(str, name)):<70} {len(rows):>7} {errors[-1][0]:>7.1%} {errors[-1][1]:>7.1%} {errors[-1][2]:>7.1%}"
        )
    print(f"{'mean over classes':<78} {' '.join(f'{np.mean(e):>7.1%}' for e in zip(*errors, strict=True))}")


if __name__ == "__main__":
    twins()
