"""Speedlight's own speed: sweeps, warm and cold answers, capture. See README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MILLION = """
import json, resource, time
import numpy as np
import speedlight
question = speedlight.make_scenario(
    "llama-3.1-70b", "dgx-h100", phase="decode",
    batch=np.arange(1, 26, dtype=float).reshape(-1, 1, 1, 1),
    context=np.linspace(128, 65536, 100).round().reshape(1, -1, 1, 1),
    tp=np.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 1, -1, 1),
    overrides={"tiers.hbm.bandwidth": np.linspace(1e12, 8e12, 100).reshape(1, 1, 1, -1)},
)
speedlight.explain("llama-3.1-70b", "dgx-h100", phase="decode")
start = time.perf_counter()
answer = speedlight.explain(question)
seconds = time.perf_counter() - start
assert answer.time.size == 1_000_000
print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""
FLAT = MILLION.replace(
    'speedlight.explain("llama-3.1-70b", "dgx-h100", phase="decode")\nstart',
    "rng = np.random.default_rng(0); n = 1_000_000\n"
    "question = speedlight.make_scenario('llama-3.1-70b', 'dgx-h100', phase='decode',\n"
    "    batch=rng.integers(1, 257, n).astype(float), context=rng.integers(1, 65536, n).astype(float),\n"
    "    tp=rng.choice([1.0, 2.0, 4.0, 8.0], n), overrides={'tiers.hbm.bandwidth': rng.uniform(1e12, 8e12, n)})\n"
    "start",
)
WARM = """
import json, statistics, time
import speedlight
def once(phase):
    start = time.perf_counter()
    speedlight.explain("llama-3.1-70b", "dgx-h100", phase=phase, tp=8, batch=16)
    return time.perf_counter() - start
for phase in ("decode", "prefill", "generate"): once(phase)
print(json.dumps({p: statistics.median(once(p) for _ in range(15)) for p in ("decode", "prefill", "generate")}))
"""
# Products priced with their intervals: the layers of six models at 64 token counts, as a sweep meets them, in arrays of
# 10^5 and 10^6; sizes of which no two are equal; one at a time.
PRODUCTS = """
import json, time
import numpy as np
from speedlight.costs.kernel import ask, ask_one
from speedlight.hardware.catalogue import load_machine
machine, texts = load_machine("h100-sxm-80gb"), {"gemm_dtype": "bfloat16", "framework": "vllm"}
rng = np.random.default_rng(0)
models = [(4096, 14336, 6144), (8192, 28672, 10240), (5120, 25600, 7168), (7168, 18432, 9216), (2048, 6144, 2560), (3584, 18944, 4608)]
layers = np.array([nk for h, f, qkv in models for nk in ((qkv, h), (h, h), (2 * f, h), (h, f))], dtype=float)
tokens = np.unique(np.round(np.geomspace(1, 8192, 64)))
def swept(rows):
    n, k = layers[rng.integers(0, len(layers), rows)].T
    return {"m": rng.choice(tokens, rows), "n": n, "k": k}
def apart(rows):
    number = rng.permutation(32768 * 64)[:rows]
    return {"m": number % 32768 + 1.0, "n": (number // 32768 + 1) * 128.0, "k": rng.integers(1, 129, rows) * 128.0}
def best(call, runs=7):
    call()
    times = []
    for _ in range(runs):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)
def rate(sizes):
    return len(sizes["m"]) / best(lambda: ask("gemm", machine, texts, sizes)) / 1e6
one = best(lambda: [ask_one("gemm", machine, texts, {"m": 7.0, "n": 4096.0, "k": 4096.0}) for _ in range(200)]) / 200
print(json.dumps({"swept": rate(swept(100_000)), "more": rate(swept(1_000_000)), "apart": rate(apart(200_000)), "one": one}))
"""
CAPTURE = """
import json, time
import torch
start = time.perf_counter()
from speedlight.frontends.source import load_graph
graph = load_graph("examples/resnet.py:resnet50", ("1x3x224x224",))
print(json.dumps({"seconds": time.perf_counter() - start}))
"""


def script(code: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def wall(*words: str, runs: int = 7) -> float:
    """Median wall seconds of a whole process, its modules compiled as an installer leaves them; no look at its exit code."""
    times = []
    with tempfile.TemporaryDirectory() as compiled:
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        for _ in range(runs + 1):  # the first run compiles
            start = time.perf_counter()
            subprocess.run(
                words, cwd=ROOT, capture_output=True, check=False, env={**env, "PYTHONPYCACHEPREFIX": compiled}
            )
            times.append(time.perf_counter() - start)
    return sorted(times[1:])[runs // 2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where a figure misses its bar")
    parser.add_argument("--no-torch", action="store_true", help="leave the capture out")
    arguments = parser.parse_args()
    bare = wall(sys.executable, "-c", "pass")
    million, flat, warm, products = script(MILLION), script(FLAT), script(WARM), script(PRODUCTS)
    command = [str(Path(sys.executable).with_name("speedlight"))]
    figures = [
        ("1,000,000 decode points on a grid, seconds", million["seconds"], 3.0),
        ("… peak memory, GB", million["peak_bytes"] / 1e9, 2.0),
        ("1,000,000 unrelated decode points, seconds", flat["seconds"], 3.0),
        ("… peak memory, GB", flat["peak_bytes"] / 1e9, 2.0),
        *[(f"warm explain of a 70B model, {phase}, ms", 1e3 * seconds, 20.0) for phase, seconds in warm.items()],
        ("one calibrated product, us of CPU", 1e6 * products["one"], 200.0),
        ("cold explain from the shell, s", wall(*command, "explain", "llama-3.1-70b", "--on", "dgx-h100", "--tp", "8"), 0.7),
        ("speedlight --help, ms", 1e3 * wall(*command, "--help"), 300.0),
        ("import speedlight (over a bare interpreter), ms",
         1e3 * (wall(sys.executable, "-c", "import speedlight") - bare), 150.0),
    ]  # fmt: skip
    if not arguments.no_torch:
        figures.append(("capture of ResNet-50, s", script(CAPTURE)["seconds"], 5.0))
    rates = [
        ("100,000 calibrated products of a sweep, million a second", products["swept"], 5.0),
        ("1,000,000 calibrated products of a sweep, million a second", products["more"], 5.0),
        ("200,000 calibrated products, no two equal, million a second", products["apart"], None),
    ]
    missed = 0
    for name, value, bar in figures:
        missed += value > bar
        print(f"{name:60s} {value:9.3f}   bar {bar:g}{'   MISSED' if value > bar else ''}")
    for name, value, least in rates:
        missed += least is not None and value < least
        said = "no bar" if least is None else f"bar {least:g} at least{'   MISSED' if value < least else ''}"
        print(f"{name:60s} {value:9.3f}   {said}")
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
