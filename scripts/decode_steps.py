"""Decode steps summed from kernels beside the time per output token of deployed engines; nothing is fitted to them.

Rows of ``deployments`` that one engine served (``mode`` agg, vLLM, no pipeline, no attention data parallelism, at most 256
sequences): the step at the batch and at the mean context, against ``measured_tpot``. A deployed token also waits for
prefills that share its engine, for the scheduler and for sampling, so that a step of kernels should come out below it.

    python scripts/decode_steps.py ../shared/data/serving/deployments.parquet
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import speedlight
from speedlight.engine.predict import predict
from speedlight.evidence.tables import read_table

SYSTEMS = {"h100_sxm": "dgx-h100", "h200_sxm": "dgx-h200", "b200_sxm": "dgx-b200", "b300_sxm": "dgx-b300"}
# What a row's precision says of a checkpoint in 16 bit. gpt-oss, Kimi int4 and MiniMax fp8 come as they are served.
FORMATS: dict[tuple[str, str], dict[str, str]] = {
    ("meta-llama", "fp8"): {"weights": "fp8", "activations": "fp8", "kv": "fp8"},
    ("meta-llama", "fp4"): {"weights": "nvfp4", "activations": "nvfp4", "kv": "fp8"},
    ("MiniMaxAI", "fp4"): {"weights": "nvfp4", "activations": "nvfp4"},
    ("moonshotai", "fp4"): {"weights": "nvfp4", "activations": "nvfp4"},
}


def batch_of(row: dict[str, Any]) -> float:
    """Sequences in flight: the batch where it is known, else the clients."""
    return float(row["batch_size"] if row["batch_size"] == row["batch_size"] else row["concurrency"])


def step(row: dict[str, Any]) -> tuple[float, float]:
    """(seconds, limit) of one decode step."""
    formats = FORMATS.get((row["model_path"].split("/")[0], row["precision"]), {})
    experts = row["moe_ep_size"]
    question = speedlight.make_scenario(
        row["model_path"], SYSTEMS[row["system"]], phase="decode", batch=batch_of(row), stack="vllm",
        context=float(row["isl"] + row["osl"] / 2), tp=int(row["tp_size"]), ep=int(experts) if experts == experts else 1,
        **formats,
    )  # fmt: skip
    answer = predict(question, details=False)
    return float(answer.time), float(answer.limit)


def main(path: Path) -> None:
    columns = read_table(path).columns
    count = len(next(iter(columns.values())))
    rows = [{name: column[i] for name, column in columns.items()} for i in range(count)]
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        alone = row["mode"] == "agg" and row["pp_size"] == 1 and row["attention_dp_size"] == 1
        if row["backend"] != "vllm" or not alone or row["system"] not in SYSTEMS or not 1 <= batch_of(row) <= 256:
            continue
        if not row["measured_tpot"] > 0:
            continue
        time, limit = step(row)
        key = (row["model_path"].split("/")[-1], row["system"], str(row["precision"]))
        found.setdefault(key, []).append((time / row["measured_tpot"], limit / row["measured_tpot"]))
    print(
        f"{'model':24s} {'system':10s} {'format':6s} {'rows':>5s} {'median':>7s} {'10 %':>6s} {'90 %':>6s} {'limit':>6s}"
    )
    for key, pairs in sorted(found.items()):
        ratio, limit = np.array(pairs).T
        low, middle, high = np.quantile(ratio, [0.1, 0.5, 0.9])
        print(
            f"{key[0]:24s} {key[1]:10s} {key[2]:6s} {len(pairs):5d} {middle:7.2f} {low:6.2f} {high:6.2f} {np.median(limit):6.2f}"
        )
    every = np.array([pair for pairs in found.values() for pair in pairs])[:, 0]
    print(f"all: {every.size} rows, median {np.median(every):.3f}, standard deviation {every.std():.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
