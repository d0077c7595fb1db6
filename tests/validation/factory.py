"""Tables of our own making, and a suite whose fit is small enough for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speedlight.costs.calibration.blocks import Axis, Block
from speedlight.costs.calibration.model import Fit
from speedlight.costs.calibration.samples import TABLES, TableRules, assemble
from speedlight.validation.suites import tables

ROWS: dict[str, Any] = {
    "device": ["NVIDIA H200", "NVIDIA H200", "nobody's card", "NVIDIA H200", "NVIDIA H200", "NVIDIA H200"],
    "framework": ["vllm"] * 6,
    "version": ["0.24.0"] * 6,
    "gemm_dtype": ["bfloat16", "fp8", "bfloat16", "int1", "bfloat16", "bfloat16"],
    "m": [1.0, 4096.0, 8.0, 8.0, -3.0, float("nan")],
    "n": [4096.0] * 6,
    "k": [4096.0] * 6,
    "latency": [1e-5, 2e-4, 1e-5, 1e-5, 1e-5, 1e-5],
}
DEVICES = ("NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA B200", "NVIDIA A100-SXM4-80GB")


def write(folder: Path, name: str = "gemm.parquet", columns: dict[str, Any] = ROWS, **changes: object) -> Path:
    """A table; a column changed to None is left out."""
    path = folder / name
    pq.write_table(pa.table({k: v for k, v in {**columns, **changes}.items() if v is not None}), path)
    return path


def measured(folder: Path, devices: tuple[str, ...] = DEVICES) -> Path:
    """A table of products whose "measured" times are the sum of three of gemm's terms, bent by size, with 5 % of noise."""
    rng = np.random.default_rng(0)
    sizes = [(m, n, k) for n in (1024, 2048, 4096, 8192) for k in (1024, 4096) for m in (1, 16, 64, 256, 1024, 4096)]
    rows = [(d, f, *s) for d in devices for f in ("vllm", "sglang") for s in sizes]
    columns: dict[str, Any] = {
        "device": [r[0] for r in rows], "framework": [r[1] for r in rows], "version": ["1"] * len(rows),
        "kernel_source": ["small" if r[2] <= 64 else "large" for r in rows], "gemm_dtype": ["bfloat16"] * len(rows),
        "m": [r[2] for r in rows], "n": [r[3] for r in rows], "k": [r[4] for r in rows],
    }  # fmt: skip
    rules = TABLES.get("gemm")
    terms = assemble(rules, rules.targets[0], {n: np.asarray(v) for n, v in columns.items()}, len(rows)).terms
    times = np.hypot(terms["matmul"], terms["memory"]) + terms["launch"]
    bent = times * (1.5 + np.log2(np.asarray(columns["m"])) / 6) * np.exp(rng.normal(0, 0.05, len(rows)))
    return write(folder, "gemm.parquet", columns, latency=bent)


def small_rules() -> TableRules:
    """The rules of gemm with a fit of a few coefficients."""
    rules = TABLES.get("gemm")
    (target,) = rules.targets
    m = Axis("m", 0, 16, 4)
    family = dataclasses.replace(
        target.family,
        rising=None,
        counted=(),
        parallel=("matmul", "memory"),
        serial=("launch",),
        shared=tuple(Block(term, (m,), (), (0.01,)) for term in ("matmul", "memory", "launch")),
        local=((Block("total", (m,), ("device", "framework"), (0.01,)),),),
        spread=(Block("total", (m,), (), (0.3,), 1e-3),),
    )
    return dataclasses.replace(rules, targets=(dataclasses.replace(target, family=family),))


def fit_to(path: Path) -> Fit:
    """The shipped procedure on the small rules."""
    from speedlight.costs.refit.fitting import fit_target
    from speedlight.evidence.tables import read_table

    rules = small_rules()
    return fit_target(rules, rules.targets[0], read_table(path), path)


def suite() -> Any:
    return tables.suite_of(small_rules())
