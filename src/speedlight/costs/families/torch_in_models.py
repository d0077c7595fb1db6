"""Kernels of float32 models run by eager PyTorch as the torch_fp32_ops fit sees them.

The table has no kernels of backward passes, but they are of its sorts: gradients of a product are products, gradients of
streaming functions stream. What the table has under its own name is looked up so; every other stream as many bytes of the
``add`` (two operands) or ``mulu`` (one) it resembles.

Two floors of the benchmark are left out: the host's (the timeline issues launches itself) and the launch that follows every
timed operation; between kernels of one stream the device needs its own launch latency only. Experts run one after another, each a
product of its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.samples import View
from ..calibration.seen import SEERS, Seen
from ..cost import Conditions, Cost
from . import torch_ops
from .in_models import at_point, launch_seconds
from .torch_streams import OPERATIONS

VENDORS = ("nvidia", "amd")
FORMATS = ("fp32", "")
STREAMS = ("elementwise", "norm", "softmax", "copy", "reduction")
WIDTH = 1024.0  # elements of a row where an op has no rows
PRODUCTS = ("linear", "bmm")
# Terms by resource; the benchmark's host and launch are left out.
TERMS = {"product": {"matmul": "matmul"}, "stream": {"vector": "vector"}}
# Functions the table has under another name.
NAMES = {
    "layer_norm": "ln", "rms_norm": "ln", "log_softmax": "softmax", "cross_entropy": "softmax", "pow": "powu",
    "tanh": "tanh", "gelu": "gelu", "relu": "relu", "softmax": "softmax",
}  # fmt: skip


@SEERS.register("torch_fp32")
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The view of a float32 kernel, or None where the table has nothing of its sort."""
    if machine.vendor not in VENDORS or kernel.message is not None:
        return None
    if any(a.format not in FORMATS for a in kernel.accesses if a.format not in ("bool", "int64", "int32")):
        return None
    op = operation(kernel, values)
    if op is None:
        return None

    def look(at: KernelValues) -> View:
        if op in PRODUCTS:
            d = at.dims
            m, n, k = (maximum(d[name], 1.0) for name in ("m", "n", "k"))
            batch = maximum(d.get("batch", 1.0), 1.0) if op == "bmm" else 1.0
            return torch_ops.products_view(batch, m, n, k, machine)
        return torch_ops.stream_view(op, *stream_of(op, kernel, at), machine)

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        return look(at).coords

    view = look(values)
    resources = {**TERMS["product" if op in PRODUCTS else "stream"], "memory": machine.main.resource}
    each = maximum(values.dims.get("batch", 1.0), 1.0) if kernel.kind == "moe" else 1.0  # experts, one after another
    terms = at_point({name: view.terms[name] * each for name in resources}, point, conditions)
    terms.pop("launch", None)
    gap = launch_seconds(machine) * each if conditions.device_latency else 0.0
    return Seen("torch_fp32_ops", terms, coords, torch_ops.key({"op": op}, machine), resources, gap)


def operation(kernel: Kernel, values: KernelValues) -> str | None:
    """The table's name of a kernel's sort."""
    base = kernel.fn
    for ending in ("_backward", "_dgrad", "_wgrad"):
        base = base.removesuffix(ending)
    if kernel.kind in ("matmul", "moe"):
        if any(w.format != "fp32" for w in kernel.work) or not {"m", "n", "k"} <= set(values.dims):
            return None
        return {
            "linear": "linear",
            "grouped_linear": "linear",
            "mm": "linear",
            "addmm": "linear",
            "bmm": "bmm",
            "baddbmm": "bmm",
        }.get(base)
    if kernel.kind not in STREAMS or any(a.granule is not None for a in kernel.accesses):
        return None
    known = NAMES.get(base)
    if known is not None and (kernel.fn == base or known in ("ln", "softmax")):
        return known
    large = [b for b in values.bytes if np.all(2.0 * b >= np.max(values.bytes))] if values.bytes else []
    return "add" if len(large) > 2 else "mulu"


def stream_of(op: str, kernel: Kernel, values: KernelValues) -> tuple[Value, Value]:
    """(rows, columns) of the table's operation that moves as many bytes."""
    moved: Value = 0.0
    for each in values.bytes:
        moved = moved + each
    elements = maximum(moved / (4.0 * OPERATIONS[op][0]), 1.0)
    width = maximum(values.dims.get("width", WIDTH), 1.0)
    width = where(elements < width, elements, width)
    return elements / width, width
