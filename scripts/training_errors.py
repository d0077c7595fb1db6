"""Errors of training steps by source, device and regime, with groups and with sources left out; the worst rows with what they spend.

    python scripts/training_errors.py ../shared/data/published/training.csv [--keep FILE] [--worst N]

Rows whose open choices spread their time by more than a fifth are scored by their interval: the part of the error outside it.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import numpy as np

from speedlight.costs.training import shipped
from speedlight.evidence.tables import read_table
from speedlight.validation.training.fit import beyond, ends_of, left_out, outside
from speedlight.validation.training.observed import Observed, observed


def line(name: str, error: np.ndarray, scored: np.ndarray) -> None:
    ape, plain = np.abs(np.expm1(-scored)), np.abs(np.expm1(-error))
    bias = np.expm1(-np.median(error))
    print(
        f"| {name} | {error.size} | {np.median(ape):.1%} | {ape.mean():.1%} | {np.median(plain):.1%} | {plain.mean():.1%} | {bias:+.1%} |"
    )


def table(title: str, keys: list[str], error: np.ndarray, scored: np.ndarray) -> None:
    print(
        f"\n| {title} | rows | median | mean | median of the point | mean of the point | bias |\n|---|---|---|---|---|---|---|"
    )
    names = np.array(keys)
    for name in sorted(set(keys)):
        line(name, error[names == name], scored[names == name])
    line("all", error, scored)


def regime(found: Observed) -> str:
    """What most of a step goes to beside computation."""
    shares = found.step.shares
    sent = sum(s for (name, _), s in shares.items() if name.startswith("message"))
    if shares.get(("launch", ""), 0.0) > 0.25:
        return "launch-bound"
    if sent > 0.25:
        return "messages above a quarter"
    if sum(s for (name, _), s in shares.items() if name == "attention") > 0.4:
        return "attention above 40 %"
    return "experts" if found.experts else "products"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("table", type=Path)
    asked.add_argument("--keep", type=Path, help="rows as looked at, to look at them again")
    asked.add_argument("--worst", type=int, default=20)
    options = asked.parse_args()
    if options.keep and options.keep.is_file():
        rows: list[Observed] = pickle.loads(options.keep.read_bytes())
    else:
        rows = list(observed(read_table(options.table)))
        if options.keep:
            options.keep.write_bytes(pickle.dumps(rows))
    steps = [r.step for r in rows]
    groups = [s.group for s in steps]
    fit = shipped()
    inside = np.array([s.target - s.said for s in steps])
    for title, error in (
        ("in sample", inside), ("group left out", left_out(steps, groups, fit)),
        ("source left out", left_out(steps, [r.source for r in rows], fit)),
        ("device left out", left_out(steps, [r.row.device for r in rows], fit)),
    ):  # fmt: skip
        table(f"source, {title}", [r.source for r in rows], error, outside(error, steps))
    error = left_out(steps, groups, fit)
    scored = outside(error, steps)
    table("device, group left out", [r.row.device for r in rows], error, scored)
    table("regime, group left out", [regime(r) for r in rows], error, scored)
    coverage(rows, error)
    print(f"\nrows scored by their interval: {int(np.sum(scored != error))} inside or partly inside")
    for i in np.argsort(-np.abs(scored))[: options.worst]:
        spent = ", ".join(
            f"{'/'.join(k).rstrip('/')} {v:.0%}" for k, v in sorted(steps[i].shares.items(), key=lambda p: -p[1])[:5]
        )
        r = rows[i]
        print(
            f"- {r.row.source.name} {groups[i]} {r.row.precision} {r.row.stack} row {r.number}: measured / predicted "
            f"{np.exp(error[i]):.2f}; {r.told.recompute}, micro-batch {r.told.micro_batch:g}; {spent}"
        )


def coverage(rows: list[Observed], error: np.ndarray) -> None:
    """Share of left-out rows inside the 80 % interval that other groups' errors of their sort make."""
    groups = np.array([r.step.group for r in rows])
    sorts = np.array([r.sort for r in rows])
    inside: dict[str, list[float]] = {}
    for i, r in enumerate(rows):
        others = (sorts == r.sort) & (groups != groups[i])
        if others.sum() < 12:
            others = np.array([o.experts == r.experts for o in rows]) & (groups != groups[i])
        past = beyond(error[others], [rows[j].step for j in np.flatnonzero(others)])
        low, high = ends_of(past, list(groups[others]))
        inside.setdefault(groups[i], []).append(float(low + r.step.slack[0] <= error[i] <= high + r.step.slack[1]))
    print(f"\n80 % intervals hold {np.mean([np.mean(v) for v in inside.values()]):.1%} of rows, groups counting alike; "
          f"{np.mean([x for v in inside.values() for x in v]):.1%} of all rows")  # fmt: skip


if __name__ == "__main__":
    main()
