"""Predictions made of plain numbers: what renderers must cope with needs no engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from speedlight._foundation.provenance import Assumption
from speedlight.engine.answers.layers import layers_of
from speedlight.engine.answers.prediction import Coverage, Crossover, OpRow, PeakFact, Prediction, Sensitivity
from speedlight.engine.answers.summary import Piece
from speedlight.lowering.ledger import Ledger
from speedlight.scenario.scenario import ModelRef, Parallel, Program, Scenario
from speedlight.workload.workload import Workload

GIB = 2.0**30
HOSTILE = '<script>alert("x")</script>&\'"\x1b[31m\u202eevil\n]]>'
KINDS = ("matmul", "attention", "norm", "elementwise", "collective", "moe", "made-up")
BOUNDS = ("matmul", "hbm", "latency", "link:nvlink", "cache", "tile_waste", "stage:vision", "launch", "nobody-knows")


def op(name: str = "mlp.up", **changes: Any) -> OpRow:
    """A memory-bound matmul unless told otherwise."""
    row = OpRow(
        name, f"model.layers.*.{name}", "matmul", 32.0, 1e-3, 0.9e-3, 0.8e-3, "hbm", 2.7e9, 2.7e9, "forward", ""
    )
    return dataclasses.replace(row, **changes)


def ops(number: int = 12) -> tuple[OpRow, ...]:
    """Rows of every kind and bound, with times over four decades and some without FLOPs or bytes."""
    return tuple(
        op(
            f"block{i % 7}.op{i}", kind=KINDS[i % len(KINDS)], bound=BOUNDS[i % len(BOUNDS)], count=1.0 + i,
            time=1e-3 / (1 + i) ** 1.5, limit=0.5e-3 / (1 + i) ** 1.5, flops=1e9 * (i % 5), bytes=1e7 * (i % 4),
        )
        for i in range(number)
    )  # fmt: skip


def prediction(
    rows: Sequence[OpRow] | None = None, *, phase: str = "decode", model: str = "llama-3.1-8b", **changes: Any
) -> Prediction:
    """A decode step of 12 ops on one device that fits; ``changes`` replace any field."""
    rows = ops() if rows is None else tuple(rows)
    time = changes.get("time", sum(r.time for r in rows) or 1e-3)
    scenario = Scenario((Program(ModelRef(model), Workload(phase=phase, context=1024), Parallel()),), "h100-sxm-80gb")
    by_class = {"weights": 15 * GIB, "kv": 2 * GIB, "activations": 1e6, "gradients": 0.0, "reserve": 8 * GIB}
    fields: dict[str, Any] = {
        "scenario": scenario,
        "model": {"id": model, "params": 8.03e9, "active_params": 8.03e9, "weight_bytes": 15 * GIB, "kv_bytes_per_token": 131072.0},
        "machine": {"id": "h100-sxm-80gb", "name": "NVIDIA H100 SXM5 80GB", "n_devices": 1, "used": 1},
        "stack": "vllm@0.11", "phase": phase, "layer": "analytic",
        "time": time, "low": time, "high": 3.0 * time, "limit": 0.5 * time, "bound": "hbm",
        "flops": 1.5e10, "flops_dense": 1.5e10, "bytes": 1.5e10, "mfu": 0.003, "mbu": 0.85,
        "throughput": {"value": 190.0, "unit": "tokens/s", "per_device": 190.0},
        "memory": Ledger(by_class, 80e9), "tiers": {},
        "peak_used": PeakFact("bf16", "fp32", 989.4e12, "datasheet"), "least": {"hbm": 0.5 * time},
        "ops": tuple(rows), "layers": layers_of([Piece(row) for row in rows]),
        "sensitivities": (Sensitivity("memory bandwidth", "+10 %", 0.085), Sensitivity("launch cost", "-10 %", 0.012)),
        "crossovers": (Crossover("tokens", 295.8, "hbm", "matmul", "linear layers"), Crossover("batch", 39.2, "hbm", "matmul")),
        "assumptions": (
            Assumption("context", 1024, "assumed", "tokens cached per sequence; set it with --context"),
            Assumption("h100-sxm-80gb tiers.l2.bandwidth", 5.5e12, "assumed"),
            Assumption("vllm memory utilisation", 0.9, "published", "vLLM documentation"),
        ),
        "attrs": {"hash": "ca936927ee5a"},
    }  # fmt: skip
    return Prediction(**{**fields, **changes})


def hostile() -> Prediction:
    """Every text a file could have brought in tries to break out."""
    rows = (
        op(HOSTILE, path=f"{HOSTILE}.{HOSTILE}", kind=HOSTILE, bound=HOSTILE, phase=HOSTILE, step=HOSTILE),
        op("ok"),
    )
    return prediction(
        rows, model=HOSTILE, bound=HOSTILE, stack=HOSTILE, layer=HOSTILE,
        machine={"id": HOSTILE, "name": HOSTILE, "n_devices": 1},
        throughput={"value": 1.0, "unit": HOSTILE, "per_device": 1.0},
        peak_used=PeakFact(HOSTILE, HOSTILE, 1e12, HOSTILE), memory=Ledger({HOSTILE: GIB}, 2 * GIB),
        sensitivities=(Sensitivity(HOSTILE, HOSTILE, 0.1),), crossovers=(Crossover(HOSTILE, 3.0, HOSTILE, HOSTILE, HOSTILE),),
        coverage=Coverage(0.9, 0.8, (HOSTILE,)), notes=(HOSTILE,), assumptions=(Assumption(HOSTILE, HOSTILE, "assumed", HOSTILE),),
        attrs={"hash": HOSTILE, "levers": [HOSTILE], "roofs": {"compute": {HOSTILE: 1e12}, "memory": {HOSTILE: 1e12}}},
    )  # fmt: skip


def unfit() -> Prediction:
    """140 GiB of weights on an 80 GB card."""
    levers = [
        {"change": "--tp 2", "fits": True, "by": 3 * GIB},
        {"change": "--weights fp8", "fits": False, "by": -2 * GIB},
    ]
    return prediction(memory=Ledger({"weights": 140 * GIB, "kv": GIB}, 80e9), attrs={"levers": levers})


def training() -> Prediction:
    """A training step: three passes."""
    rows = [
        op(f"{n}{i}", phase=p, time=t / (1 + i))
        for p, t in (("forward", 1e-2), ("backward", 2e-2))
        for i, n in enumerate("abc")
    ]
    return prediction(
        [*rows, op("adamw", phase="optimizer", path="optimizer", kind="elementwise", flops=0.0)], phase="train"
    )


def odd() -> dict[str, Prediction]:
    """Answers at the edges of what the contract allows, by name."""
    import numpy as np

    nan, inf = float("nan"), float("inf")
    nothing = {"energy": None, "power": None, "cost": None, "ttft": None, "tpot": None}
    times = np.array([1e-3, 2e-3, nan])
    return {
        "plain": prediction(),
        "all figures": prediction(energy=12.0, power=400.0, cost=0.02, ttft=0.1, tpot=0.01, phase="generate"),
        "nothing predicted": prediction(**nothing, mfu=None, mbu=None, peak_used=None, sensitivities=(), crossovers=(), assumptions=(), attrs={}),
        "no rows": prediction(()),
        "one row": prediction([op()]),
        "500 rows": prediction(ops(500)),
        "2000 rows": prediction(ops(2000)),
        "nan": prediction(
            [op(time=nan, limit=nan, flops=nan, bytes=nan, count=nan), op("b", time=inf), op("c")],
            time=nan, low=nan, high=nan, limit=nan, mfu=nan, mbu=inf, memory=Ledger({"weights": nan}, nan),
            sensitivities=(Sensitivity("x", "+10 %", nan),), crossovers=(Crossover("tokens", nan, "hbm", "matmul"),),
        ),
        "all zero": prediction([op(time=0.0, limit=0.0, flops=0.0, bytes=0.0)] * 3, time=0.0, memory=Ledger({"weights": 0.0}, 0.0)),
        "huge": prediction(
            [op(time=1e300, limit=1e299, flops=1e305, bytes=1e-3), op("b", time=1e300, flops=1.0, bytes=1e300)], time=2e300
        ),
        "tiny": prediction([op(time=1e-300, limit=1e-301, flops=1e-9, bytes=1e-300), op("b", time=1e-15)], time=1e-15),
        "unfit": unfit(),
        "hostile": hostile(),
        "unicode": prediction([op("注意力·投影🚀", path="模型.层.*.注意力🚀"), op("ñandú")], model="模型-🚀"),
        "long names": prediction([op("x" * 5000, path="a." * 4000), op("b")], model="m" * 3000),
        "training": training(),
        "sweep": prediction(
            (), time=times, low=times, high=times * 2, limit=times / 2, bound=np.array(["hbm", "matmul", "x"], dtype=object),
            mfu=times, mbu=times, throughput={"value": times, "unit": "tokens/s", "per_device": times},
            memory=Ledger({"weights": 15 * GIB, "kv": times * 1e13}, 80e9),
        ),
        "array ledger": prediction(memory=Ledger({"weights": 15 * GIB, "kv": np.array([1.0, 70.0, 2.0]) * GIB}, 80e9)),
        "no capacity": prediction(memory=Ledger({"weights": 15 * GIB}, nan)),
        "uncovered": prediction(coverage=Coverage(0.99, 0.97, tuple(f"custom::op{i}" for i in range(40)))),
        "paths that end inside others": prediction([op("a", path="m"), op("b", path="m.n"), op("c", path="m.n"), op("d", path="")]),
    }  # fmt: skip
