"""torch_fp32_ops: eager PyTorch in float32, operation by operation.

The benchmark launches an operation over and over on the same operands, so a row is the slower of the host, which takes
12–60 µs to dispatch one, and the device: time = max(host, work) smoothed, plus the launch.

Terms, in seconds at the machine's rates: host dispatch; matmul (tiles dealt to units in whole rounds); memory (operands
once); vector (arithmetic of element-wise operations); launch; transform (the passes of Winograd's algorithm). Products run at
the lesser of two rates: the peak, and what the joules of a FLOP leave of the power limit (70 W cards sink to half their clock).
Coordinates that an operation does not have are 0; operations are fitted in five groups that share nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from ..price import peak_for
from .in_models import launch_seconds
from .torch_conv import convolution
from .torch_products import alignment, product
from .torch_streams import NORMS, OPERATIONS, stream

# Seconds an eager operation takes on the host of 2018; the fit bends it. No input names the host, but it was bought with its
# device: floors of 47 µs (2016), 37 (2018) and 30 (2020) beside P100, V100 and A100, of 19 (2020) and 16 (2022) under ROCm.
HOST, HOST_YEAR, HOST_HALVE = 20e-6, 2018.0, 6.0
# Joules of a sustained float32 FLOP by generation, that is by process: 16, 12 and 7 nm. By them a power limit bounds the rate:
# T4, P4 and A100 PCIe sit at it (3.4-4.6, 2.4-4.7 and 15-17 TFLOP/s), V100 PCIe at its edge, MI100 and MI210 with their matrix units.
# No 5 or 4 nm chip was measured: half of 7 nm's is assumed.
JOULES = {
    "Maxwell": 14e-12,
    "Pascal": 12e-12,
    "Volta": 11e-12,
    "Turing": 11e-12,
    "Ampere": 10e-12,
    "CDNA": 10e-12,
    "CDNA 2": 10e-12,
}
JOULES_LATER = 5e-12
MATRIX_SAVING = 0.6  # a matrix unit's share of those joules: it reads a register for several products
CORNER = 12.0  # how sharply a chip passes from its clock's limit to its power's
IDLE = 0.35  # share of the power limit that is not left for arithmetic
# The generation whose single-precision kernels the libraries run (cuBLAS names them): Turing has none of its own.
KERNELS = {"Pascal": "maxwell", "Turing": "volta"}

ONE = Axis("one", 0, 1)
M2, N2, K2 = Axis("m", 0, 18, 2), Axis("n", 0, 18, 2), Axis("k", 0, 18, 2)
N = Axis("n", 0, 17)
WAVES = Axis("waves", -8, 12, 0.5)
CACHE = Axis("cache", -12, 12)
TILES = tuple(Axis(f"tile{i}", -2, 6, 0.5) for i in range(6))
LINES = (Axis("align", 0, 5), Axis("wcache", -10, 10), Axis("acache", -10, 10, 2))

DEVICE, GENERATION, OPERATION = ("device",), ("version",), ("op",)

FAMILY = Family(
    name="torch_fp32_ops",
    parallel=("host", "matmul", "memory", "vector"),
    serial=("launch", "transform"),
    power=5.0,
    shared=(
        Block("host", (ONE,), OPERATION, (0.0,), 1e-4),
        Block("host", (ONE,), ("framework", "op"), (0.0,), 1e-2),
        Block("host", (ONE,), ("device", "op"), (0.0,), 1e-1),
        Block("launch", (ONE,), OPERATION, (0.0,), 1e-4),
        Block("launch", (ONE,), ("framework", "op"), (0.0,), 1e-2),
        Block("launch", (ONE,), ("device", "op"), (0.0,), 1.0),
        Block("memory", (CACHE,), OPERATION, (0.3,), 1e-3),
        Block("memory", (N,), OPERATION, (0.3,), 1e-3),
        Block("memory", (ONE,), ("memory", "op"), (0.0,), 1e-2),
        Block("memory", (CACHE,), ("framework", "op"), (0.3,), 1.0),
        Block("memory", (N,), ("framework", "op"), (0.3,), 1.0),
        Block("memory", (CACHE,), ("device", "op"), (0.3,), 3.0),
        Block("vector", (ONE,), OPERATION, (0.0,), 1e-3),
        Block("vector", (ONE,), ("framework", "op"), (0.0,), 1e-3),
        Block("matmul", (ONE,), ("framework",), (0.0,), 1e-3),
        Block("matmul", (WAVES, K2), (), (0.05, 0.3), 1e-3),
        Block("matmul", (M2, N2), (), (0.3, 0.3), 1e-3),
        *(Block("matmul", (tile,), GENERATION, (0.1,), 2e-1) for tile in TILES),
        Block("matmul", (WAVES,), DEVICE, (0.05,), 3e-2),
        Block("matmul", (M2, N2), DEVICE, (0.3, 0.3), 3e-2),
        Block("matmul", (Axis("k", 0, 17),), DEVICE, (0.3,), 3e-2),
        Block("matmul", LINES, DEVICE, (0.02, 0.3, 0.3), 1e-3),
        Block("matmul", (Axis("align_n", 0, 5), CACHE), DEVICE, (0.02, 0.3), 1e-1),
        Block("matmul", (Axis("b", 0, 16), Axis("waves", -8, 12)), DEVICE, (0.3, 0.3), 1e-1),
        *(Block("matmul", (tile,), DEVICE, (0.1,), 1e-1) for tile in TILES),
        Block("transform", (Axis("tile2", 0, 4, 0.5),), (), (0.1,), 1e-3),
        Block("transform", (K2,), (), (0.1,), 1e-3),
        Block("transform", (Axis("tile2", 0, 4, 0.5),), DEVICE, (0.1,), 1e-1),
    ),
    local=(
        (
            Block("total", (Axis("bytes", 8, 36, 0.5),), ("device", "op"), (0.1,), 0.1),
            Block("total", (N, Axis("align", 0, 2)), ("device", "op"), (0.1, 0.0), 0.1),
            Block("total", (Axis("b", 0, 7), Axis("side", 2, 8, 0.5)), ("device", "op"), (0.3, 0.1), 0.1),
            Block("total", (M2, N2, Axis("k", 0, 18, 3)), ("device", "op"), (0.3, 0.3, 0.3), 0.1),
        ),
    ),
    spread=(Block("total", (M2, Axis("k", 0, 18, 3)), (), (0.3, 0.3), 1e-6),),
    partition=("format",),
    kernels=None,
)  # fmt: skip


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of the table's rows."""
    op = cls["op"]
    if op in ("linear", "bmm"):
        _need(rows, ("M", "N", "K"))
        return products_view(rows["B"], rows["M"], rows["K"], rows["N"], machine)
    if op == "conv":
        _need(rows, ("in_channels", "out_channels", "kernel_size", "input_size", "stride"))
        return conv_view(
            rows["B"], rows["in_channels"], rows["out_channels"], rows["kernel_size"], rows["input_size"],
            rows["stride"], rows["padding"], machine,
        )  # fmt: skip
    if op in OPERATIONS:
        _need(rows, ("H",))
        return stream_view(op, rows["B"], rows["H"], machine)
    raise BadInput(f"op {op}")


def _need(rows: Rows, names: tuple[str, ...]) -> None:
    """Sizes are columns that other operations leave blank, so the table's rules cannot ask for them."""
    for name in names:
        if not np.all(rows[name] >= 1):
            raise BadInput(f"{name} is missing")


def _finish(  # what the three kinds of operation share
    machine: Machine,
    flops: Value,
    vector: Value,
    padded: Value,
    least: Value,
    moved: Value,
    coords: dict[str, Value],
    transformed: Value = 0.0,
) -> View:
    point = OperatingPoint()
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    ordinary = peak_for(machine, "vector", "fp32", None, point).flops
    product_peak = peak_for(machine, "matmul", "fp32", None, point)
    peak = maximum(product_peak.flops, ordinary)
    bandwidth = machine.main.bandwidth
    joules = joules_of(machine)
    if product_peak.unit == "matmul":
        joules = joules * MATRIX_SAVING
    limit_w = 300.0 if machine.tdp_w is None else where(machine.tdp_w > 0, machine.tdp_w, 300.0)
    watts = limit_w * (1.0 - IDLE)
    cold = moved * (1.0 - np.minimum(1.0, capacity / maximum(moved, 1.0)))
    host_age = HOST_YEAR - (machine.release_year or HOST_YEAR)
    terms = {
        "host": HOST * 2.0 ** (host_age / HOST_HALVE),
        "matmul": padded * (peak**-CORNER + (watts / joules) ** -CORNER) ** (1.0 / CORNER),
        "memory": moved / bandwidth,
        "vector": vector / ordinary,
        "transform": transformed / bandwidth,
        "launch": launch_seconds(machine),
    }
    limit = maximum(least / peak, cold / bandwidth)
    coords = {
        **dict.fromkeys(("one", "m", "n", "k", "b", "side", "waves", "align", "align_n", "wcache", "acache"), 0.0),
        **{tile.coord: 0.0 for tile in TILES},
        "cache": np.log2(moved / capacity), "bytes": np.log2(moved), **coords,
    }  # fmt: skip
    return View(terms, coords, limit)


def joules_of(machine: Machine) -> float:
    """Of a FLOP on the ordinary units; that of the newest processes where the generation is none of the measured."""
    return JOULES.get(machine.architecture, JOULES_LATER)


def products_view(batch: Value, rows: Value, columns: Value, depth: Value, machine: Machine) -> View:
    """``linear`` (batch 1) or ``bmm``; wcache and acache are what each operand takes of the cache."""
    p = product(batch, rows, columns, depth, machine)
    coords = {
        "m": np.log2(rows),
        "n": np.log2(columns),
        "k": np.log2(depth),
        "b": np.log2(batch),
        "waves": np.log2(p.waves),
    }
    capacity = machine.last_cache.capacity_bytes if machine.last_cache else 1.0
    coords["wcache"] = np.log2(4.0 * depth * columns / capacity)
    coords["acache"] = np.log2(4.0 * depth * rows / capacity)
    coords["align"] = alignment(depth)
    coords["align_n"] = alignment(columns)
    coords.update({f"tile{i}": p.excess[i] for i in range(6)})
    return _finish(machine, p.flops, 0.0, p.padded, p.flops, p.bytes, coords)


def conv_view(
    batch: Value, inputs: Value, outputs: Value, kernel: Value, size: Value, stride: Value, pad: Value, machine: Machine
) -> View:  # fmt: skip
    """``conv``: tile0–2 say which algorithm wins by how much, tile3–5 how many blocks each has a unit."""
    c = convolution(batch, inputs, outputs, kernel, size, stride, pad, machine)
    coords = {
        "m": np.log2(outputs), "n": np.log2(batch * c.side**2), "k": np.log2(inputs), "b": np.log2(batch),
        "waves": c.waves[0], "side": np.log2(c.side),
    }  # fmt: skip
    coords.update({f"tile{i}": c.excess[i] for i in range(3)})
    coords.update({f"tile{i + 3}": c.waves[i] for i in range(3)})
    return _finish(machine, c.least, 0.0, c.padded, c.least, c.bytes, coords, c.transformed)


def stream_view(op: str, rows: Value, columns: Value, machine: Machine) -> View:
    """Element-wise operations and norms; vectorised kernels need whole rows, or all elements, in fours."""
    moved, work = stream(op, rows, columns)
    align = 1.0 * (np.mod(rows * columns, 4.0) == 0) + 1.0 * (np.mod(columns, 4.0) == 0)
    coords = {"m": np.log2(rows), "n": np.log2(columns), "align": align}
    return _finish(machine, 0.0, work, 0.0, 0.0, moved, coords)


def group_of(op: str) -> str:
    """What is fitted together."""
    return op if op in ("linear", "bmm", "conv") else "norm" if op in NORMS else "elementwise"


def memory_of(machine: Machine) -> str:
    """What main memory is made of: stacks behind wide interfaces reach 88–92 % of their pins' rate since their second
    generation (the first, Pascal's, 74 %), discrete chips with error correction in line 75 %."""
    stacked = machine.main.name.startswith("hbm")
    first = stacked and (machine.release_year or HOST_YEAR) < 2017
    return f"{machine.vendor}-{'first-hbm' if first else 'hbm' if stacked else 'chips'}"


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """CUDA and ROCm builds are two frameworks; the version is the generation whose kernels their libraries run."""
    generation = machine.architecture.split(" ")[0]
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": "torch-" + machine.vendor,
        "version": KERNELS.get(generation, generation), "memory": memory_of(machine), "format": group_of(cls["op"]), "op": cls["op"], "kernel": "",
    }  # fmt: skip


SHAPE = ("M", "N", "K", "H", "in_channels", "out_channels", "kernel_size", "input_size", "stride", "padding")

TABLES.register("torch_fp32_ops")(
    TableRules(
        name="torch_fp32_ops",
        targets=(Target("latency", FAMILY, view_row),),
        measured=("latency", "kernel", "grid_x", "grid_y", "grid_z", "block_x", "origin"),
        numbers={"B": 1, **dict.fromkeys(SHAPE, 0)},
        optional=dict.fromkeys(SHAPE, 0.0),
        texts=("op", "torch_version"),
        group=("op", *SHAPE),
        slices=("device", "op"),
        key=key,
    )
)
