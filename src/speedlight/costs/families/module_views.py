"""How the fit of whole modules sees a lowered kernel: its sort, its analytic seconds by resource, and its shape.

Terms are the busy seconds of the analytic layer (tiles, residency and passes included), so what is fitted are the
efficiencies that are left. Coordinates are sizes: of a convolution per group, of a product, of attention, of rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, log2, maximum, where
from ...hardware.machine import Machine
from ...lowering.kernels import WALKS, Kernel, KernelValues
from ..cost import Cost
from .attention import OLDER_INSTRUCTIONS, beyond_registers

TERMS = ("matmul", "vector", "memory", "cache")
SERIAL = ("launch",)
CONVOLUTION = {"groups", "in_channels", "out_channels", "m", "k"}
ALIGNED = 8.0  # 16-bit elements of one 16-byte access: matrix kernels read channels so


def sort_of(kernel: Kernel) -> str:
    """``conv``, ``depthwise``, ``grouped``, ``product``, ``attention`` or ``stream``; "" for messages and unusual work."""
    if kernel.message is not None or (kernel.family == "conv" and not set(kernel.dims) >= CONVOLUTION):
        return ""
    if kernel.family == "conv":
        groups, channels = kernel.dims["groups"].constant, kernel.dims["in_channels"].constant
        if groups == 1:
            return "conv"
        return "depthwise" if groups == channels else "grouped"
    if kernel.family == "matmul" and {"m", "n", "k"} <= set(kernel.dims):
        return "product"
    if kernel.family == "attention" and {"seqs", "heads", "keys", "qk_dim"} <= set(kernel.dims):
        return "attention"
    return "stream"


def texts_of(kernel: Kernel) -> dict[str, str]:
    """Key fields: the function, and the layout a convolution runs in.

    A norm that takes statistics of its batch is another function than one that applies known ones, and another kernel where it
    gives a channel to a block of threads. One that applies known ones is another kernel row by row than channels last.
    """
    op = kernel.fn
    if kernel.kind == "norm" and kernel.attrs.get("training"):
        op += "_training" if kernel.phase == "forward" else ""
        op += "_by_channel" if WALKS in kernel.dims else ""
    elif kernel.attrs.get("planes"):
        op += "_by_plane"
    return {"op": op, "layout": str(kernel.attrs.get("layout", ""))}


def terms_of(kernel: Kernel, cost: Cost, machine: Machine) -> dict[str, Value]:
    """Analytic seconds: matrix units; vector and special-function units; main memory; the last cache; launches.

    Libraries run convolutions by mma.sync, also where matrix units have newer instructions that alone reach all of their rate.
    """
    busy = cost.busy
    older = kernel.family == "conv" and beyond_registers(machine)
    return {
        "matmul": busy.get("matmul", 0.0) / (OLDER_INSTRUCTIONS if older else 1.0),
        "vector": busy.get("vector", 0.0) + busy.get("unit:transcendental", 0.0),
        "memory": busy.get(machine.main.resource, 0.0),
        "cache": busy.get("cache", 0.0),
        "launch": cost.latency,
    }


def coords_of(kernel: Kernel, values: KernelValues) -> Mapping[str, Value]:
    """Logs of sizes; none contains a rate."""
    moved: Value = 0.0
    for size in values.bytes:
        moved = moved + size
    found: dict[str, Value] = {"one": 0.0, "moved": _log(moved / 2.0**20, 1e-6)}
    sort, d = sort_of(kernel), values.dims
    if sort in ("conv", "depthwise", "grouped"):
        found |= _convolution(d)
    elif sort == "product":
        whole = _whole(d["n"], d["k"])
        found |= {
            "m": _log(d["m"]),
            "n": _log(d["n"]),
            "k": _log(d["k"]),
            "b": _log(d.get("batch", 1.0)),
            "ragged": whole,
        }
    elif sort == "attention":
        seqs = maximum(d["seqs"], 1.0)
        found |= {"k": _log(d["qk_dim"]), "n": _log(d["keys"] / seqs), "m": _log(seqs * d["heads"])}
    else:
        found |= {"width": _log(d.get("width", 1.0)), "rows": _log(d.get("rows", 1.0))}
    return found


def _convolution(d: Mapping[str, Value]) -> dict[str, Value]:
    groups = maximum(d["groups"], 1.0)
    channels, filters = d["in_channels"] / groups, d["out_channels"] / groups
    taps: Value = 1.0
    shrunk: Value = 1.0
    for axis in "dhw":
        taps = taps * d.get(f"kernel_{axis}", 1.0)
        shrunk = shrunk * d.get(f"in_{axis}", 1.0) / maximum(d.get(f"out_{axis}", 1.0), 1.0)
    return {
        "m": _log(d["m"]), "n": _log(filters), "k": _log(d["k"]), "channels": _log(channels), "groups": _log(groups),
        "taps": _log(taps), "stride": _log(shrunk) / 2.0, "side": _log(d.get("out_w", 1.0)),
        "ragged": _whole(channels, filters),
    }  # fmt: skip


def _whole(first: Value, second: Value) -> Value:
    """1 where a size is no multiple of :data:`ALIGNED`, else 0."""
    uneven = (np.mod(first, ALIGNED) != 0) | (np.mod(second, ALIGNED) != 0)
    return where(uneven, 1.0, 0.0)


def _log(size: Value, least: float = 1.0) -> Value:
    return log2(maximum(size, least))
