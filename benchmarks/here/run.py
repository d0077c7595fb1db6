"""Runs every case here and keeps time and peak memory (JSON), case by case; a run that was interrupted goes on.

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

from speedlight.measurement.bench.context import circumstances, moment
from speedlight.measurement.modules.run import run
from speedlight.measurement.modules.subject import made, recipe


def measured(case: Case, seconds: float, device: str) -> dict[str, object]:
    step = made(recipe(case.source, case.inputs, train=case.train, device=device))
    found = run(step, seconds)
    return {
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
    parser.add_argument("--device", default="cpu", help="PyTorch's name: cpu, cuda")
    given = parser.parse_args()
    kept = (
        json.loads(given.out.read_text())
        if given.out.exists()
        else {"context": circumstances(given.device), "cases": {}}
    )
    for case in cases()[:: given.every]:
        if case.name in kept["cases"]:
            continue
        start = time.perf_counter()
        try:
            kept["cases"][case.name] = measured(case, given.seconds, given.device)
            said = (
                f"{1e3 * kept['cases'][case.name]['median']:.2f} ms, {kept['cases'][case.name]['peak'] / 2**20:.0f} MiB"
            )
        except Exception as error:
            kept["cases"][case.name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
            said = kept["cases"][case.name]["failed"]
        given.out.write_text(json.dumps(kept))
        print(f"{case.name:40} {said}  ({time.perf_counter() - start:.1f} s)", flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
