"""Runs every case here and keeps time and peak memory (JSON), case by case; a run that was interrupted goes on.

On a host the allocator is told to keep what is freed, as ``verify`` does: how much of a step's memory glibc maps anew by itself
depends on what ran in the process before (``--returning`` leaves it so). All cases are run in rounds, minutes apart: whoever else
slows the machine down for a while meets each of them once.

Usage: python benchmarks/here/run.py --out measured.json [--every N] [--rounds N] [--seconds S] [--device cuda]
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from cases import Case, cases

from speedlight.measurement.bench.accelerator import waiting
from speedlight.measurement.bench.allocator import kept as keep_memory
from speedlight.measurement.bench.context import circumstances, moment
from speedlight.measurement.bench.timing import Timed, timed
from speedlight.measurement.modules.run import run
from speedlight.measurement.modules.subject import made, recipe

TIMES = ("median", "low", "high", "samples")


def measured(case: Case, seconds: float, device: str) -> dict[str, Any]:
    """A case's times, memory and operators."""
    found = run(made(recipe(case.source, case.inputs, train=case.train, device=device)), seconds)
    return {
        "pages": found.pages, "system_s": found.system, **_times(found.time), "rounds": [found.time.median],
        "traced": found.traced, "kept": found.kept, "peak": found.peak, "moment": moment(),
        "spent": [[s.path, s.phase, s.name, s.count, float(f"{s.busy:.4g}")] for s in found.spent],
    }  # fmt: skip


def again(case: Case, before: dict[str, Any], seconds: float, device: str) -> dict[str, Any]:
    """The same, timed once more, not as long: the faster times stay, since others lengthen times and never shorten them."""
    step = made(recipe(case.source, case.inputs, train=case.train, device=device))
    found = timed(step.step, seconds=0.4 * seconds, wait=waiting(device), once=True)
    better = _times(found) if found.median < before["median"] else {}
    return {**before, **better, "rounds": [*before["rounds"], found.median]}


def _times(found: Timed) -> dict[str, Any]:
    return {name: getattr(found, name) for name in TIMES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="only every N-th case")
    parser.add_argument("--seconds", type=float, default=0.8, help="for each case, at most, beside its warm-up")
    parser.add_argument("--rounds", type=int, default=3, help="over all cases: the least of a case's medians counts")
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
    for number, case in ((n, c) for n in range(given.rounds) for c in cases()[:: given.every]):
        before = kept["cases"].get(case.name)
        if before is not None and ("failed" in before or len(before["rounds"]) > number):
            continue
        start = time.perf_counter()
        try:
            if before is None:
                found = measured(case, given.seconds, given.device)
            else:
                found = again(case, before, given.seconds, given.device)
            said = f"{1e3 * found['rounds'][-1]:.2f} ms, {found['peak'] / 2**20:.0f} MiB"
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"[:300]}
            said = found["failed"]
        kept["cases"][case.name] = found
        given.out.write_text(json.dumps(kept))
        print(f"{case.name:40} {said}  ({time.perf_counter() - start:.1f} s)", flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
