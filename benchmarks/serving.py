"""Speed of the serving simulator on one core, warm: steps and requests a second, a million requests, a sweep.

    python benchmarks/serving.py [--data ../shared/data] [--requests 1000000]

Seconds are the process's own (``process_time``), so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import time
from pathlib import Path

import numpy as np

from speedlight.api import make_scenario
from speedlight.cli.main import main as speedlight
from speedlight.engine.serving.deploy import deployed
from speedlight.scenario.serving import Engines
from speedlight.serving.compiled import is_compiled
from speedlight.serving.requests import Requests
from speedlight.serving.simulate import simulate
from speedlight.serving.traces import read_trace


def cut(load: Requests, count: int) -> Requests:
    load = load.repeated(-(-count // len(load)))
    return load.replace(arrival=load.arrival[:count], prompt=load.prompt[:count], output=load.output[:count])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SPEEDLIGHT_DATA", "../shared/data"))
    parser.add_argument("--requests", type=int, default=1_000_000)
    given = parser.parse_args()
    trace = read_trace(Path(given.data) / "traces" / "splitwise_conv.parquet")
    scenario = make_scenario("llama-3.1-8b", "h100-sxm-80gb", stack="vllm", phase="decode")
    print(f"compiled: {is_compiled()}; conversation trace, llama-3.1-8b on h100-sxm-80gb")
    print("policy        rate  batch  requests   seconds   requests/s      steps/s")
    for policy in ("vllm@0", "vllm@1", "sglang@0.4", "tensorrt-llm@1"):
        served_by = deployed(scenario, Engines(policy=policy))[0]
        simulate(cut(trace, 100), served_by)
        for rate in (2.0, 8.0, 12.0):
            report(policy, rate, trace.at_rate(rate), served_by)
    served_by = deployed(scenario, Engines())[0]
    for count in (given.requests // 100, given.requests // 10, given.requests):
        report("vllm@1", 8.0, cut(trace, count).at_rate(8.0), served_by)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    start = time.process_time()
    words = "simulate llama-3.1-8b --on dgx-h100 --tp 1,2,4,8 --replicas 1,2 --rate 4 --osl 128 --curve 50 --json -"
    with contextlib.redirect_stdout(io.StringIO()):
        speedlight(words.split())
    print(f"50 rates x 8 layouts, 1000 requests each: {time.process_time() - start:.1f} s")


def report(policy: str, rate: float, load: Requests, served_by: object) -> None:
    start = time.process_time()
    run = simulate(load, served_by)  # type: ignore[arg-type]
    seconds = time.process_time() - start
    tokens = float(np.sum(load.output))
    print(
        f"{policy:13s} {rate:4.0f} {tokens / run.steps:6.1f} {len(load):9,d} {seconds:9.3f} {len(load) / seconds:12,.0f} {run.steps / seconds:12,.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
