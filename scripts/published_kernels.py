"""Templates of ops files beside published kernel times: rows below the limit, measured over analytic by kind.

    python scripts/published_kernels.py ../shared/data/published

Reads ``deepbench.parquet`` and ``kernels.csv``; nothing is fitted. Rows are priced as benchmarks run them: one kernel at a
time, operands warm where a cache can hold them. What a template cannot express, or the catalogue does not hold, is counted.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from speedlight._foundation.errors import SpeedlightError
from speedlight.costs.cost import Conditions
from speedlight.costs.price import price
from speedlight.frontends.op_list import parse_op_list
from speedlight.graph.stats import step_symbols
from speedlight.hardware.catalogue import load_machine
from speedlight.hardware.machine import Machine
from speedlight.lowering.lower import alone

# DeepBench names no form factor: the fastest of the name, so that the limit is one whichever it was.
DEEPBENCH = {"NV_V100": "v100-sxm3-32gb", "NV_P100": "p100-sxm2-16gb", "NV_T4": "t4"}
# (storage, multiplication) by DeepBench's precision; P100 runs fp16 operands on fp32 units.
PRECISIONS = {
    "Float": ("fp32", "fp32"),
    "16 bit inputs, 16 bit multiplication, 32 bit addition": ("fp16", "fp16"),
    "16 bit inputs, 32 bit multiplication, 32 bit addition": ("fp16", "fp32"),
}
_GEMM = """
    work: [{unit: matmul, flops: 2 * m * n * k, format: FORMAT}]
    reads: [{tensor: a, elements: m * k}, {tensor: b, elements: n * k}]
    writes: [{tensor: c, elements: m * n}]
    dims: {m: m, n: n, k: k, batch: 1}
"""


def template(name: str, sizes: list[str], dtype: str, **words: str) -> str:
    """An ops file of one template with all its sizes as symbols."""
    given = ", ".join([*(f"{s}: the_{s}" for s in sizes), *(f"{k}: {v}" for k, v in words.items())])
    symbols = ", ".join(f"the_{s}: 1" for s in sizes)
    return f"schema: 1\ndtype: {dtype}\nsymbols: {{{symbols}}}\nops:\n  - {{name: o, template: {name}, with: {{{given}}}}}\n"


def mixed_gemm(storage: str, multiply: str) -> str:
    """A product whose operands are stored narrower than they are multiplied: written by its work, not by a template."""
    tensors = (
        "tensors: {a: {elements: m * k, class: input}, b: {elements: n * k, class: input}, c: {elements: m * n}}\n"
    )
    symbols = "symbols: {m: 1, n: 1, k: 1}\n"
    return f"schema: 1\ndtype: {storage}\n{symbols}{tensors}ops:\n  - name: o\n    kind: matmul{_GEMM.replace('FORMAT', multiply)}"


def seconds(text: str, sizes: Mapping[str, np.ndarray], machine: Machine) -> tuple[np.ndarray, np.ndarray]:
    """(analytic, limit) of every row."""
    program = alone(parse_op_list(text))
    env = {
        **step_symbols(1.0, 1.0, 0.0),
        "caching": 0.0,
        "training": 0.0,
        **sizes,
        **{f"the_{k}": v for k, v in sizes.items()},
    }
    time: Any = 0.0
    limit: Any = 0.0
    for block, (_, kernels) in zip(program.blocks, program.evaluate(env, []), strict=True):
        for kernel, values in zip(block.kernels, kernels, strict=True):
            cost = price(kernel, values, machine, conditions=Conditions("repeated"))
            time, limit = time + cost.time * values.count, limit + cost.limit * values.count
    shape = np.shape(next(iter(sizes.values())))
    return np.broadcast_to(time, shape), np.broadcast_to(limit, shape)


def deepbench(folder: Path) -> pd.DataFrame:
    """GEMM and convolution rows (backward ones do the forward's work on the forward's bytes) of devices that we know."""
    rows = pd.read_parquet(folder / "deepbench.parquet")
    print(f"deepbench: {len(rows)} rows; {(rows.op == 'rnn').sum()} recurrent ones state neither cell nor batch")
    rows = rows[rows.op.isin(["gemm", "conv2d"])]
    known = rows.gpu.isin(DEEPBENCH)
    print(f"  {len(rows)} products and convolutions, {known.sum()} of them on devices in the catalogue")
    found = []
    for (op, gpu, precision), part in rows[known].groupby(["op", "gpu", "precision"]):
        storage, multiply = PRECISIONS[str(precision)]
        machine = load_machine(DEEPBENCH[str(gpu)])
        number = {c: part[c].where(part[c] != "", "nan").astype(float).to_numpy() for c in part.columns if c not in ("case_id", "source", "verified", "op", "gpu", "precision", "a_trans", "b_trans", "direction", "application", "algorithm", "notes", "rnn_type")}  # fmt: skip
        if op == "gemm":
            sizes = {s.lower(): number[s] for s in ("M", "N", "K")}
            text = mixed_gemm(storage, multiply)
        elif storage == multiply:
            names = {"batch": "batch", "height": "H", "width": "W", "channels": "C", "filters": "filters", "kernel_h": "R",
                     "kernel_w": "S", "pad_h": "pad_h", "pad_w": "pad_w", "stride_h": "stride_h", "stride_w": "stride_w"}  # fmt: skip
            sizes = {ours: number[theirs] for ours, theirs in names.items()}
            text = template("conv2d", list(sizes), storage)
        else:
            continue
        good = np.all([np.isfinite(v) for v in (*sizes.values(), number["time_s"])], axis=0) & (number["time_s"] > 0)
        time, limit = seconds(text, {k: v[good] for k, v in sizes.items()}, machine)
        kind = part.direction[good].str.split(" \\(").str[0].str.strip() if op == "conv2d" else "gemm"
        found.append(pd.DataFrame({"kind": kind, "gpu": gpu, "dtype": f"{storage}·{multiply}", "measured": number["time_s"][good], "time": time, "limit": limit, "algorithm": part.algorithm[good], "three": (number["R"][good] == 3) & (number["stride_h"][good] == 1)}))  # fmt: skip
    return pd.concat(found)


def published(folder: Path) -> pd.DataFrame:
    """Products, attention, softmax, layer norm and GELU of kernels.csv."""
    rows = pd.read_csv(folder / "kernels.csv")
    found = []
    for _, row in rows.iterrows():
        dtype = {"fp16/bf16": "fp16", "fp8_e4m3": "fp8"}.get(str(row["dtype"]), str(row["dtype"]))
        rate = float(row.flops_per_s) if row.flops_per_s == row.flops_per_s else None
        asked: tuple[str, dict[str, float], float] | None = None
        if row.kind == "matmul":
            work = 2 * row.m * row.n * row.k
            asked = template("gemm", ["m", "n", "k"], dtype), {"m": row.m, "n": row.n, "k": row.k}, work
        elif row.kind == "attention" and row.direction == "fwd":
            sizes = {"seqs": row.batch, "queries": row.seq_len, "heads": row.heads, "head_dim": row.head_dim}
            causal = {"yes": "'yes'", "no": "'no'"}[row.causal]
            work = 4 * row.seq_len**2 * row.head_dim * row.heads * row.batch * (0.5 if row.causal == "yes" else 1)
            asked = template("attention", list(sizes), dtype, causal=causal), sizes, work
        elif row.op in ("softmax", "layernorm") and row.m == row.m:
            fn = "softmax" if row.op == "softmax" else "layer_norm"
            asked = template("normalize_rows", ["rows", "width"], dtype, fn=fn), {"rows": row.m, "width": row.n}, 0
        elif row.op == "gelu":
            asked = template("elementwise", ["elements", "flops"], dtype), {"elements": row.m, "flops": 8}, 0
        if asked is None:
            continue
        text, sizes, work = asked
        measured = float(row.time_s) if row.time_s == row.time_s else work / rate if rate else None
        if not measured:
            continue
        try:
            machine = load_machine(str(row.gpu), table=True)
            time, limit = seconds(text, {k: np.array([v], dtype=float) for k, v in sizes.items()}, machine)
        except SpeedlightError as error:
            print(f"  left out {row.case_id}: {error}")
            continue
        kind = {"elementwise/reduction": row.op}.get(row.kind, row.kind)
        found.append({"kind": kind, "gpu": machine.id, "dtype": dtype, "measured": measured, "time": time[0], "limit": limit[0], "case": row.case_id})  # fmt: skip
    return pd.DataFrame(found)


def table(rows: pd.DataFrame, by: list[str]) -> None:
    """Rows, share below the limit, quantiles of measured over analytic."""
    for key, part in rows.groupby(by):
        ratio = part.measured / part.time
        below = part.measured < part.limit * (1 - 1e-9)
        worst = (part.measured / part.limit).min()
        print(f"  {' · '.join(map(str, key))}: {len(part)} rows, {below.mean():.1%} below the limit (least {worst:.2f} of it), "
              f"measured/analytic {ratio.quantile(0.1):.2f} {ratio.median():.2f} {ratio.quantile(0.9):.2f}")  # fmt: skip


if __name__ == "__main__":
    where = Path(sys.argv[1])
    bench = deepbench(where)
    table(bench, ["kind", "gpu", "dtype"])
    print("forward convolutions by algorithm, 3 × 3 of stride 1 or not")
    table(bench[bench.kind == "Forward"].fillna({"algorithm": ""}), ["algorithm", "three"])
    fast = bench.algorithm.str.contains("WINO|Wino|FFT", na=False)
    odd = bench[(bench.measured < bench.limit) & ~fast]
    print(f"below the limit without a fast algorithm named: {len(odd)} of {len(bench)}")
    print(odd.groupby(["kind", "gpu", "dtype", "algorithm", "three"]).size().to_string())
    csv = published(where)
    table(csv, ["kind", "gpu", "dtype"])
    print(csv[csv.measured < csv.limit][["case", "measured", "limit"]].to_string())
