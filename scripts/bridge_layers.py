"""The bridge study for ``module_times_mlp``: the parts of a transformer layer from kernels alone, with no fit to its rows.

Products (query, key and value; attention output; up; down) come from the shipped ``gemm`` fit, as a stack's kernels; streams
(norms, rotary positions, activation, addition, embedding) are bytes over the memory that holds them plus a launch. What a
layer leaves is split by least squares with signs, device by device, into

* ``launch``: microseconds a part, of either sign: a launch that the kernel benchmark pays and the profile does not, or
  (positive) time between kernels;
* ``cold``: a share of the time to stream weights that a kernel benchmark may find in the last cache;
* ``waits``: a share of the kernels' time: the clock under load and everything else that grows with it.

    python scripts/bridge_layers.py ../shared/data/kernels [--framework vllm]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import speedlight.costs.families  # noqa: F401  (registers the tables)
from speedlight.costs.calibration.predict import forecast
from speedlight.costs.calibration.samples import TABLES, as_floats, assemble, machine_of
from speedlight.costs.calibration.store import shipped
from speedlight.costs.families.layer_modules import COLUMNS, PRODUCTS, STREAMS
from speedlight.costs.families.module_terms import fetch
from speedlight.evidence.tables import read_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--framework", default="vllm", help="whose products: vllm, sglang or trtllm")
    args = parser.parse_args()
    table = read_table(args.folder / "module_times_mlp.parquet")
    rows = {n: np.asarray(c) for n, c in table.columns.items()}
    numbers = {n: as_floats(rows[n]) for n in TABLES.get("module_times_mlp").numbers}
    gated = np.array([str(v) for v in rows["use_gated_mlp"]])
    device = rows["device"].astype(str)
    tokens, count = numbers["num_tokens"], table.rows
    seconds = {n: np.full(count, np.nan) for n in COLUMNS}
    cold = np.zeros(count)
    for name in sorted(set(device)):
        machine = machine_of(TABLES.get("module_times_mlp"), {"device": name})
        launch = float(machine.engine.launch_latency_s or 1e-6)
        for flag in sorted(set(gated)):
            own = np.flatnonzero((device == name) & (gated == flag))
            mine = {n: v[own] for n, v in numbers.items()}
            for column, shape in PRODUCTS.items():
                n, k = shape({"use_gated_mlp": flag}, mine)
                seconds[column][own] = gemm(name, args.framework, tokens[own], n, k)
                weights = n * k * 2.0
                # What the loop kept in the cache, and a layer that follows others does not.
                cold[own] += weights * (1.0 / machine.main.bandwidth - fetch(machine, weights))
            for column, stream in STREAMS.items():
                n, passes = stream({"use_gated_mlp": flag}, mine)
                total = tokens[own] * n * passes * 2.0
                seconds[column][own] = total * fetch(machine, total) + launch
    report(rows, device, seconds, cold)


def gemm(device: str, framework: str, m: np.ndarray, n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Seconds of products by the shipped fit; bfloat16 stands for float16 (the same rate and bytes)."""
    rules, fit = TABLES.get("gemm"), shipped("gemm")
    texts = {"device": device, "framework": framework, "version": "", "kernel_source": "", "gemm_dtype": "bfloat16"}
    columns = {name: np.full(m.size, value, dtype=object) for name, value in texts.items()}
    columns |= {"m": m, "n": np.broadcast_to(n, m.shape), "k": np.broadcast_to(k, m.shape)}
    target = rules.targets[0]
    return forecast(target.family, assemble(rules, target, columns, m.size), fit).seconds


def report(rows: dict[str, np.ndarray], device: np.ndarray, seconds: dict[str, np.ndarray], cold: np.ndarray) -> None:
    """Errors of every part and of the layer, then the split of what the layer leaves."""
    measured = {n: as_floats(rows[n]) for n in COLUMNS}
    whole = np.sum([np.where(np.isfinite(m), m, 0.0) for m in measured.values()], axis=0)
    summed = np.sum([np.where(np.isfinite(measured[n]), seconds[n], 0.0) for n in COLUMNS], axis=0)
    for name in sorted(set(device)):
        own = device == name
        print(name, int(own.sum()), "rows: median / mean error, bias")
        for column, said, real in (*((n, seconds[n], measured[n]) for n in COLUMNS), ("layer", summed, whole)):
            at = own & np.isfinite(real) & (real > 0) & np.isfinite(said)
            ratio = said[at] / real[at] - 1.0
            errors = np.median(np.abs(ratio)), np.mean(np.abs(ratio)), np.median(ratio)
            print(f"  {column:26s} " + " / ".join(f"{v:+.3f}" if i == 2 else f"{v:.3f}" for i, v in enumerate(errors)))
        parts = np.stack([np.ones(own.sum()), cold[own], summed[own]], 1)
        weight = 1.0 / whole[own]
        amounts, *_ = np.linalg.lstsq(parts * weight[:, None], (whole - summed)[own] * weight, rcond=None)
        shares = np.mean(parts * amounts * weight[:, None], 0)
        rest = (whole - summed)[own] - parts @ amounts
        print(
            f"  split of the layer's rest: launch {amounts[0] * 1e6 / len(COLUMNS):+.2f} us a part ({shares[0]:+.1%}), "
            f"cold {amounts[1]:+.2f} of it ({shares[1]:+.1%}), waits {shares[2]:+.1%}; "
            f"left after it {np.median(np.abs(rest * weight)):.1%} (median)"
        )


if __name__ == "__main__":
    main()
