"""Peaks found by ``speedlight measure`` beside tools that share no code with it: STREAM's triad in C, numpy's BLAS.

Usage: python benchmarks/here/independent.py --out independent.json     (needs a C compiler with OpenMP)

Seven runs of each, taking turns, so that a machine that changes its pace changes it for both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from speedlight.measurement.bench.context import circumstances
from speedlight.measurement.bench.operators import operator
from speedlight.measurement.bench.streams import stream
from speedlight.measurement.bench.timing import timed

RUNS = 7
SETS = (2**18, 2**23, 2**28)  # bytes in all: in the second cache, in the last one, in main memory


def ours_triad(size: int) -> float:
    from numba import get_num_threads

    run, moved = stream("triad", size // get_num_threads())
    return moved / timed(run, seconds=0.35).median / 1e9


def ours_mm(side: int) -> float:
    run = operator("mm", {"m": side, "n": side, "k": side, "format": "fp32"})
    return 2e-9 * side**3 / timed(run, seconds=0.35).median


def numpy_mm(side: int) -> float:
    x, y = (np.random.default_rng(seed).standard_normal((side, side), dtype=np.float32) for seed in (0, 1))
    return 2e-9 * side**3 / timed(lambda: x @ y, seconds=0.35).median


def compiled(folder: str) -> Path:
    program = Path(folder) / "stream"
    source = Path(__file__).with_name("stream.c")
    subprocess.run(["cc", "-O3", "-march=native", "-fopenmp", str(source), "-o", str(program)], check=True)
    return program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(folder)

        def other_triad(size: int) -> float:
            said = subprocess.run([str(program), str(size)], check=True, capture_output=True, text=True).stdout
            return float(said.split()[0])

        for _ in range(RUNS):
            for size in SETS:
                entry = found.setdefault(f"triad of {size} bytes, GB/s", {"ours": [], "other": []})
                entry["ours"].append(ours_triad(size))
                entry["other"].append(other_triad(size))
            for side in (1024, 2048):
                entry = found.setdefault(f"product of {side}³ in fp32, GFLOP/s", {"ours": [], "other": []})
                entry["ours"].append(ours_mm(side))
                entry["other"].append(numpy_mm(side))
    for what, each in found.items():
        ours, other = (float(np.median(each[k])) for k in ("ours", "other"))
        spread = max(float(np.ptp(each[k]) / np.median(each[k])) for k in ("ours", "other"))
        print(f"{what}: ours {ours:.1f}, other {other:.1f}, ratio {ours / other:.3f}, widest spread {spread:.1%}")
    given.out.write_text(json.dumps({"context": circumstances(), "runs": found}, indent=1))


if __name__ == "__main__":
    main()
