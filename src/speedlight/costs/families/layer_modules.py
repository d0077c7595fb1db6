"""module_times_mlp: the parts of a transformer layer, one by one, in float16, by tokens and tensor-parallel width.

Ten measured columns are ten targets: four products (query, key and value merged; attention output; up with the gate merged;
down) and six streams (embedding, two norms, rotary embedding, activation, residual addition). Times were rounded to whole
microseconds, so the shortest are known to ±25 %. ``a100`` is the 80 GB SXM kind: decoding streams 1.62 TB/s of weights,
more than the 40 GB kind has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from ..price import peak_for

BYTES = 2.0  # of float16
LAUNCH = 1e-6  # seconds, where a machine does not state its own
DEVICE = ("device",)

M, K2, N2 = Axis("m", 0, 15), Axis("k", 8, 16, 2), Axis("n", 8, 17, 3)
WAVES = Axis("waves", -4, 8, 0.25)
WIDE, TALL = Axis("waves_wide", -1, 4, 0.125), Axis("waves_tall", -1, 4, 0.125)
STREAM, CACHE = Axis("stream", 0, 24), Axis("cache", -14, 8)


def products(column: str) -> Family:
    """How a product is fitted: matrix unit and memory overlap, the launch adds."""
    return Family(
        name=f"module_{column}",
        parallel=("matmul", "memory"),
        serial=("launch",),
        power=3.0,
        shared=(
            Block("matmul", (WAVES,), (), (0.05,), 1e-3),
            Block("matmul", (Axis("k", 8, 16),), (), (0.3,), 1e-3),
            Block("memory", (Axis("m", 0, 15, 1),), (), (0.1,), 1e-3),
            Block("memory", (Axis("stream", 6, 26),), (), (0.3,), 1e-3),
            Block("matmul", (WAVES,), DEVICE, (0.05,), 1e-2),
            Block("memory", (Axis("m", 0, 15, 0.5),), DEVICE, (0.1,), 1e-2),
            Block("memory", (Axis("stream", 6, 26),), DEVICE, (0.3,), 1e-2),
        ),
        local=(
            (
                Block("total", (Axis("m", 0, 15, 0.25),), DEVICE, (0.02,), 1e-2),
                Block("total", (M, N2, K2), DEVICE, (0.3, 0.3, 0.3), 1e-1),
                Block("total", (WIDE,), DEVICE, (0.02,), 1e-1),
                Block("total", (TALL,), DEVICE, (0.02,), 1e-1),
            ),
        ),
        spread=(Block("total", (Axis("m", 0, 15, 3),), (), (0.3,), 1e-6),),
        kernels=None,
    )


def streams(column: str) -> Family:
    """How a stream is fitted: bytes through memory, or through the cache where they fit, then the launch."""
    return Family(
        name=f"module_{column}",
        parallel=("memory",),
        serial=("launch",),
        power=3.0,
        shared=(
            Block("memory", (CACHE,), (), (0.1,), 1e-3),
            Block("memory", (STREAM,), (), (0.3,), 1e-3),
            Block("launch", (STREAM,), (), (1.0,), 1e-3),
            Block("memory", (CACHE,), DEVICE, (0.1,), 1e-2),
            Block("launch", (STREAM,), DEVICE, (1.0,), 1e-2),
        ),
        local=(
            (
                Block("total", (Axis("m", 0, 15, 0.5), Axis("n", 6, 17)), DEVICE, (0.05, 0.3), 1e-2),
                Block("total", (Axis("stream", 0, 24, 0.5),), DEVICE, (0.05,), 1e-2),
            ),
        ),
        spread=(Block("total", (Axis("m", 0, 15, 3),), (), (0.3,), 1e-6),),
        kernels=None,
    )


def product_view(m: Value, n: Value, k: Value, machine: Machine) -> View:
    """y[m, n] = x[m, k] W[k, n]: weights cold or warm, as a benchmark that loops leaves them."""
    units = machine.engine.units
    weights = n * k * BYTES
    total = weights + (m * k + m * n) * BYTES
    peak = peak_for(machine, "matmul", "fp16", None, OperatingPoint()).flops
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 0.0
    flops = 2.0 * m * n * k

    def waves(rows: float, columns: float) -> Value:
        return np.log2(ceil(m / rows) * ceil(n / columns) / units)

    terms = {"matmul": flops / peak, "memory": total / machine.main.bandwidth, "launch": _launch(machine)}
    coords = {
        "m": np.log2(m), "n": np.log2(n), "k": np.log2(k), "waves": waves(128.0, 128.0),
        "waves_wide": waves(128.0, 256.0), "waves_tall": waves(256.0, 128.0), "stream": np.log2(total / units),
    }  # fmt: skip
    cold = maximum(total - capacity, 0.0)
    return View(terms, coords, maximum(flops / peak, cold / machine.main.bandwidth))


def stream_view(m: Value, n: Value, passes: float, machine: Machine) -> View:
    """``passes`` tensors of m rows × n float16 read or written."""
    total = m * n * passes * BYTES
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    terms = {"memory": total / machine.main.bandwidth, "launch": _launch(machine)}
    coords = {
        "m": np.log2(m), "n": np.log2(n), "cache": np.log2(total / capacity),
        "stream": np.log2(total / machine.engine.units),
    }  # fmt: skip
    return View(terms, coords, maximum(total - capacity, 0.0) / machine.main.bandwidth)


def _launch(machine: Machine) -> Value:
    return machine.engine.launch_latency_s or LAUNCH


def _share(amount: Value, width: Value) -> Value:
    """What one rank holds of ``amount`` heads; never less than one (key and value heads replicate)."""
    return maximum(ceil(amount / width), 1.0)


def _qkv(rows: Rows, tensors: float) -> Value:
    """Columns of the query and of ``tensors`` of key and value on one rank."""
    width = rows["num_tensor_parallel_workers"]
    head = rows["n_embd"] / rows["n_head"]
    return head * (_share(rows["n_head"], width) + tensors * _share(rows["n_kv_head"], width))


def _ffn(rows: Rows) -> Value:
    return ceil(rows["n_expanded_embd"] / rows["num_tensor_parallel_workers"])


def _gates(cls: Mapping[str, str]) -> float:
    """Columns of the up projection for one of the hidden layer: the gate is merged."""
    return 2.0 if cls["use_gated_mlp"] == "True" else 1.0


Shape = Callable[[Mapping[str, str], Rows], tuple[Value, Value]]

PRODUCTS: dict[str, Shape] = {
    "attn_pre_proj": lambda cls, r: (_qkv(r, 2.0), r["n_embd"]),
    "attn_post_proj": lambda cls, r: (r["n_embd"], _share(r["n_head"], r["num_tensor_parallel_workers"]) * r["n_embd"] / r["n_head"]),
    "mlp_up_proj": lambda cls, r: (_gates(cls) * _ffn(r), r["n_embd"]),
    "mlp_down_proj": lambda cls, r: (r["n_embd"], _ffn(r)),
}  # fmt: skip
# Columns and how many tensors that wide pass through memory.
STREAMS: dict[str, Shape] = {
    "emb": lambda cls, r: (r["n_embd"], 2.0),
    "input_layernorm": lambda cls, r: (r["n_embd"], 2.0),
    "attn_rope": lambda cls, r: (_qkv(r, 1.0), 2.0),
    "post_attention_layernorm": lambda cls, r: (r["n_embd"], 2.0),
    "mlp_act": lambda cls, r: (_ffn(r), _gates(cls) + 1.0),
    "add": lambda cls, r: (r["n_embd"], 3.0),
}


def _target(column: str) -> Target:
    if column in PRODUCTS:

        def view(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
            n, k = PRODUCTS[column](cls, rows)
            return product_view(rows["num_tokens"], n, k, machine)

        return Target(column, products(column), view)

    def stream(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
        n, passes = STREAMS[column](cls, rows)
        return stream_view(rows["num_tokens"], n, passes, machine)

    return Target(column, streams(column), stream)


COLUMNS = (
    "emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj", "post_attention_layernorm", "mlp_up_proj",
    "mlp_act", "mlp_down_proj", "add",
)  # fmt: skip


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": "", "version": "",
        "format": "float16", "kernel": "",
    }  # fmt: skip


TABLES.register("module_times_mlp")(
    TableRules(
        name="module_times_mlp",
        targets=tuple(_target(column) for column in COLUMNS),
        measured=COLUMNS,
        numbers={
            "num_tokens": 1, "num_tensor_parallel_workers": 1, "n_head": 1, "n_kv_head": 1, "n_embd": 1,
            "n_expanded_embd": 1,
        },
        texts=("use_gated_mlp",),
        group=("n_embd", "n_expanded_embd"),
        slices=("device",),
        key=key,
        device=("device",),
    )
)  # fmt: skip
