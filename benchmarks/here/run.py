"""Runs every case here and keeps time and peak memory (JSON), case by case; a run that was interrupted goes on.

On a host the allocator is told to keep what is freed, as ``verify`` does: how much of a step's memory glibc maps anew by itself
depends on what ran in the process before (``--returning`` leaves it so).

Usage: python benchmarks/here/run.py --out measured.json [--every N] [--seconds S] [--device cuda]
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cases import Case, cases

from speedlight.measurement.bench.allocator import kept as keep_memory
from speedlight.measurement.bench.context import circumstances, moment
from speedlight.measurement.bench.reference import SLOW, Watch
from speedlight.measurement.modules.run import run
from speedlight.measurement.modules.subject import made, recipe

AGAIN = 2  # times at most that a case is measured again


def measured(case: Case, seconds: float, device: str, watch: Watch | None) -> dict[str, object]:
    step = made(recipe(case.source, case.inputs, train=case.train, device=device))
    before = watch.slowness() if watch else 1.0
    found = run(step, seconds)
    return {
        "slowness": max(before, watch.slowness() if watch else 1.0),
        "pages": found.pages, "system_s": found.system,
        "median": found.time.median, "low": found.time.low, "high": found.time.high, "samples": list(found.time.samples),
        "traced": found.traced, "kept": found.kept, "peak": found.peak, "moment": moment(),
        "spent": [[s.path, s.phase, s.name, s.count, float(f"{s.busy:.4g}")] for s in found.spent],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="only every N-th case")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each case, at most, beside its warm-up")
    parser.add_argument(
        "--patience", type=float, default=240.0, help="seconds for measuring again what others disturbed"
    )
    parser.add_argument("--device", default="cpu", help="PyTorch's name: cpu, cuda")
    parser.add_argument("--returning", action="store_true", help="leave the allocator to its own habits")
    given = parser.parse_args()
    if given.device == "cpu" and not given.returning:
        keep_memory()
    kept = (
        json.loads(given.out.read_text())
        if given.out.exists()
        else {"context": circumstances(given.device), "cases": {}}
    )
    watch = Watch() if given.device == "cpu" else None
    until = None
    for case in (c for _ in range(1 + AGAIN) for c in cases()[:: given.every]):
        before = kept["cases"].get(case.name)
        if before is None:
            until = None
        elif before.get("slowness", 1.0) < SLOW or (until is not None and time.perf_counter() > until):
            continue
        elif until is None:  # all are measured once: what others disturbed is measured again, within bounds
            until = time.perf_counter() + given.patience
        start = time.perf_counter()
        try:
            found = measured(case, given.seconds, given.device, watch)
            said = f"{1e3 * found['median']:.2f} ms, {found['peak'] / 2**20:.0f} MiB, slowed {found['slowness']:.2f}"
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"[:300]}
            said = found["failed"]
        if before is None or found.get("slowness", 9.0) < before["slowness"]:
            kept["cases"][case.name] = found
        given.out.write_text(json.dumps(kept))
        print(f"{case.name:40} {said}  ({time.perf_counter() - start:.1f} s)", flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
