"""Predictions on a machine beside what ``run.py`` measured: errors of time and peak memory, the worst cases, by group.

Usage: python benchmarks/here/compare.py measured.json [again.json …] --on here-calibrated.yaml [--keep DIR] [--json FILE]

A case's time is the lower quartile of its samples, as ``verify`` takes it, since others lengthen times and never shorten them; by
medians the errors are told beside. Several files are runs of the same cases, of which the fastest counts; what they differ by is
printed as the machine's own spread.
"""

from __future__ import annotations

import argparse
import copyreg
import hashlib
import inspect
import json
import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from cases import Case, cases

from speedlight.api import make_scenario
from speedlight.engine.predict import predict
from speedlight.engine.questions import resolve
from speedlight.frontends import source
from speedlight.measurement.applied.beside import QUARTILE

STACK = "torch-eager"


def readonly(mapping: dict[Any, Any]) -> Any:
    return MappingProxyType(mapping)


copyreg.pickle(MappingProxyType, lambda mapping: (readonly, (dict(mapping),)))  # graphs hold such


def kept(load: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Captured graphs from a folder, for who compares again and again; written by this script alone, so it is trusted."""

    def loaded(*args: Any, **named: Any) -> Any:
        bound = inspect.signature(load).bind(*args, **named)
        bound.apply_defaults()
        path = folder / (hashlib.sha256(repr(bound.arguments).encode()).hexdigest()[:20] + ".pickle")
        if path.is_file():
            return pickle.loads(path.read_bytes())
        found = load(*args, **named)
        path.write_bytes(pickle.dumps(found))
        return found

    return loaded


def predicted(case: Case, machine: str) -> dict[str, Any]:
    options = {"phase": "train" if case.train else "forward", "inputs": case.inputs, "stack": STACK}
    answer = predict(make_scenario(case.source, machine, **options))
    held = sum(float(v) for k, v in answer.memory.by_class.items() if k != "reserve")
    rows = [
        [op.path, op.phase, op.name, op.kind, float(op.count), float(op.time), str(op.bound)] for op in answer.ops
    ]  # fmt: skip
    return {
        "time": float(answer.time),
        "low": float(answer.low),
        "high": float(answer.high),
        "limit": float(answer.limit),
        "memory": held,
        "ops": rows,
    }


def table(measured: Sequence[dict[str, Any]], machine: str, only: str = "") -> list[dict[str, Any]]:
    """One row a case; graphs are captured in as many processes as there are cores."""
    found: dict[str, dict[str, Any]] = {}
    asked = []
    for case in cases():
        runs = [m["cases"][case.name] for m in measured if "median" in m["cases"].get(case.name, {})]
        if not runs or only not in case.name:
            continue
        found[case.name] = {
            "case": case.name, "train": case.train, "batch": case.batch, "peak": runs[0]["peak"],
            "runs": [float(np.quantile(r["samples"], QUARTILE)) for r in runs], "median": min(r["median"] for r in runs),
        }  # fmt: skip
        found[case.name]["measured"] = min(found[case.name]["runs"])
        asked.append(case)
    with ProcessPoolExecutor() as pool:
        said = {pool.submit(predicted, case, machine): case.name for case in asked}
        for number, done in enumerate(as_completed(said), 1):
            row = found[said[done]]
            try:
                row |= done.result()
            except Exception as error:
                row["failed"] = f"{type(error).__name__}: {error}"[:200]
            print(f"{number:4} of {len(said)} {row['case']:36} {row.get('failed', '')}", file=sys.stderr, flush=True)
    return list(found.values())


def report(rows: Sequence[dict[str, Any]]) -> None:
    good = [r for r in rows if "time" in r]
    ratio = np.array([r["time"] / r["measured"] for r in good])
    memory = np.array([r["memory"] / r["peak"] for r in good])
    for row, t, m in sorted(zip(good, ratio, memory, strict=True), key=lambda x: x[1]):
        print(
            f"{row['case']:36} {1e3 * row['measured']:9.2f} ms  predicted × {t:5.2f}  peak {row['peak'] / 2**20:6.0f} MiB × {m:5.2f}"
        )
    groups = {
        "all": np.ones(len(good), bool), "batch 1": np.array([r["batch"] == 1 for r in good]),
        "batch 8": np.array([r["batch"] == 8 and not r["train"] for r in good]), "training": np.array([r["train"] for r in good]),
    }  # fmt: skip
    for name, own in groups.items():
        if own.any():
            e, m = abs(ratio[own] - 1), abs(memory[own] - 1)
            print(
                f"{name:10} {own.sum():4} cases: time median {np.median(e):.1%}, p90 {np.quantile(e, 0.9):.1%}, bias {np.median(ratio[own]) - 1:+.1%}; "
                f"memory median {np.median(m):.1%}, p90 {np.quantile(m, 0.9):.1%}"
            )
    middle = abs(np.array([r["time"] / r["median"] for r in good]) - 1)
    print(f"by medians of samples: time median {np.median(middle):.1%}, p90 {np.quantile(middle, 0.9):.1%}")
    print(
        f"{len({r['case'].partition('/')[0] for r in good})} models; below the limit: {sum(r['measured'] < r['limit'] for r in good)}; "
        f"80 % interval holds {np.mean([r['low'] <= r['measured'] <= r['high'] for r in good]):.0%}"
    )
    twice = [max(r["runs"]) / min(r["runs"]) - 1 for r in good if len(r["runs"]) > 1]
    if twice:
        print(f"runs of one case differ by {np.median(twice):.1%} (median), {np.quantile(twice, 0.9):.1%} (p90)")
    for row in rows:
        if "failed" in row:
            print(f"{row['case']}: {row['failed']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, nargs="+")
    parser.add_argument("--on", default="here")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--keep", type=Path, help="folder for captured graphs")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
        resolve.load_graph = source.load_graph = kept(source.load_graph, given.keep)  # type: ignore[assignment]
    rows = table([json.loads(p.read_text()) for p in given.measured], given.on, given.only)
    report(rows)
    if given.json:
        given.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
