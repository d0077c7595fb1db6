"""gemm: C[m,n] = A[m,k] B[k,n] in eight formats on the devices of the table, operands warm.

A benchmark loops on the same operands, so that all of them may sit in the last cache (``residency=repeated``); the
launch floor applies once a call. This version predicts the limit and the analytic time; nothing is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ..._foundation.errors import BadInput, UnknownName
from ..._foundation.expr import sym
from ...costs.cost import Conditions
from ...costs.price import price
from ...engine.intervals import uncalibrated
from ...graph.builder import BlockBuilder
from ...graph.grammar import check
from ...graph.ir import Graph
from ...hardware.catalogue import load_machine
from ...lowering.kernels import Program
from ...lowering.lower import lower
from ...stacks.stack import load_stack
from ..suite import SUITES, Outcome, Predicted, Suite

# The table's formats: (weights, activations as multiplied).
FORMATS = {
    "bfloat16": ("bf16", "bf16"), "float16": ("fp16", "fp16"), "float32": ("fp32", "fp32"), "fp8": ("fp8", "fp8"),
    "fp8_block": ("fp8_block", "fp8"), "nvfp4": ("nvfp4", "nvfp4"), "int8_wo": ("int8", "bf16"),
    "int4_wo": ("int4", "bf16"), "sq": ("int8", "int8"),
}  # fmt: skip


@lru_cache(maxsize=32)
def program(weights: str, activations: str) -> Program:
    """One linear layer, lowered as the ideal stack would: a single kernel."""
    b = BlockBuilder("gemm", dtype=activations)
    x = b.input("x", sym("m") * sym("k"))
    y = b.linear("linear", x, sym("n"), sym("k"), rows=sym("m"), weight_format=weights, activation_format=activations)
    out = b.tensors[y]
    b.activation(y, out.elements, "bf16" if activations not in ("fp16", "fp32") else activations)
    graph = Graph("gemm", (b.build([y]),), symbols={"m": None, "n": None, "k": None})
    return lower(check(graph), load_stack("ideal"))


def predict(columns: Mapping[str, np.ndarray], rows: int) -> Predicted:
    """Price each (device, format) group of rows in one call."""
    predicted, limit, low, high = (np.full(rows, np.nan) for _ in range(4))
    status = np.full(rows, "ok", dtype=object)
    sizes = {}
    for name in ("m", "n", "k"):
        try:
            values = np.asarray(columns[name], dtype=float)
        except (TypeError, ValueError):
            values = np.asarray([_number(v) for v in columns[name]], dtype=float)
        sizes[name] = values
        bad = ~np.isfinite(values) | (values < 1) | (values != np.floor(values))
        status[bad & (status == "ok")] = f"invalid:{name}"
    devices = columns.get("device", columns.get("system"))
    keys = list(zip(devices if devices is not None else [None] * rows, columns["gemm_dtype"], strict=True))
    codes, index = _groups(keys)
    for number, (device, number_format) in enumerate(codes):
        mask = (index == number) & (status == "ok")
        if not mask.any():
            continue
        reason = _price(device, number_format, sizes, mask, predicted, limit, low, high)
        if reason:
            status[mask] = reason
    layer = np.where(np.isnan(predicted), None, "analytic")  # type: ignore[call-overload]
    return Predicted({"latency": Outcome(predicted, limit, low, high)}, layer, status)


def _groups(keys: list[tuple[object, object]]) -> tuple[list[tuple[object, object]], np.ndarray]:
    numbers: dict[tuple[object, object], int] = {}
    index = np.fromiter((numbers.setdefault(k, len(numbers)) for k in keys), dtype=np.int64, count=len(keys))
    return list(numbers), index


def _price(
    device: object, number_format: object, sizes: dict[str, np.ndarray], mask: np.ndarray, predicted: np.ndarray,
    limit: np.ndarray, low: np.ndarray, high: np.ndarray,
) -> str | None:  # fmt: skip
    if number_format not in FORMATS:
        return f"unsupported:gemm_dtype {number_format}"
    try:
        machine = load_machine(str(device), table=True)
    except (UnknownName, BadInput):
        return "unknown-device"
    lowered = program(*FORMATS[str(number_format)])
    env = {name: values[mask] for name, values in sizes.items()}
    ((_, (values,)),) = lowered.evaluate(env, [])
    (kernel,) = lowered.blocks[0].kernels
    cost = price(kernel, values, machine, conditions=Conditions("repeated"))
    predicted[mask], limit[mask] = cost.time, cost.limit
    low[mask], high[mask] = uncalibrated(cost.time)
    return None


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


SUITES.register("gemm")(
    Suite(
        name="gemm",
        measured=("latency",),
        required=("gemm_dtype", "m", "n", "k"),
        group=("n", "k"),
        slices=("device", "gemm_dtype", "framework"),
        predict=predict,
    )
)
