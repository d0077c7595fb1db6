"""Kernels of modules run by PyTorch, fitted to measured times of whole models (vision_throughput).

A whole model's time says nothing of one kernel, but a thousand models of two hundred designs do: every sort of kernel has
efficiencies of its analytic terms, over its shape, shared by all models (:mod:`..refit.whole`). So a model never seen is
priced by kernels that others have, and a device never seen by efficiencies that other devices have.

What the sorts are bent by, and why:

* *conv*: depth and filters (tiles that do not fill, k too short to hide a pipeline's start), taps (implicit GEMM gathers
  its rows; Winograd's algorithm saves multiplications on 3×3), few channels (16-byte reads that are padded), the layout;
* *depthwise*: no reuse across channels, so bandwidth: of memory, or of the loads of every tap, by taps, stride, side and layout;
  *grouped*: little of it;
* *product*: depth, width, number of products;
* *attention*: head size and length;
* *stream*: the function (how many passes it makes that the graph does not show), how many bytes it moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ..._foundation.arrays import Value
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.blocks import Axis, Block
from ..calibration.model import Part, depth_of
from ..calibration.samples import Family, architecture_of
from ..calibration.seen import SEERS, Seen
from ..calibration.store import shipped
from ..cost import Conditions, Cost
from .module_views import SERIAL, TERMS, coords_of, sort_of, terms_of, texts_of

NAME = "modules"
ONE = Axis("one", 0, 1)
K, N, TAPS = Axis("k", 2, 14, 2), Axis("n", 0, 14, 2), Axis("taps", 0, 6, 2)
CHANNELS, SIDE, STRIDE = Axis("channels", 0, 4), Axis("side", 1, 9), Axis("stride", 0, 2)
GROUPS, RAGGED, MOVED = Axis("groups", 0, 12, 2), Axis("ragged", 0, 1), Axis("moved", -8, 12, 2)
WIDTH, PRODUCTS = Axis("width", 0, 14, 2), Axis("b", 0, 18, 3)
HEAD, LENGTH = Axis("k", 3, 9), Axis("n", 2, 14, 2)

# What a table of its own is worth, as ridge: what all kernels of a sort share; a layout's or a device's deviation;
# a deviation that few rows tell.
COMMON, OWN, RARE = 1e-2, 3e-2, 1e-1
# Logs of the least that a fit may make of a term: nobody reads more than 95 % of the stated bandwidth, and cards clock up to a tenth
# above what they state.
FLOORS = {"memory": 0.05, "matmul": -0.1}
POWER = 3.0
ALL, LAYOUT, DEVICE, RUN, OP = (), ("layout",), ("device",), ("framework",), ("op",)
# Cards with stacked memory reach another share of their matrix units' peak than GeForce cards do (products: a third less).
MEMORY = ("memory",)


def _level(term: str, per: tuple[str, ...], ridge: float) -> Block:
    return Block(term, (ONE,), per, (0.0,), ridge)


def _curve(term: str, axis: Axis, per: tuple[str, ...], ridge: float = OWN, smooth: float = 0.3) -> Block:
    return Block(term, (axis,), per, (smooth,), ridge)


def _levels(*terms: str) -> tuple[Block, ...]:
    """One level a term, and each device's own deviation from it."""
    return _each(terms, (ALL, COMMON), (DEVICE, OWN))


def _levels_by_memory(*terms: str) -> tuple[Block, ...]:
    """The same with a deviation of devices with a sort of memory between them."""
    return _each(terms, (ALL, COMMON), (MEMORY, COMMON), (DEVICE, OWN))


def _each(terms: tuple[str, ...], *shared: tuple[tuple[str, ...], float]) -> tuple[Block, ...]:
    return tuple(_level(term, per, ridge) for per, ridge in shared for term in terms)


SORTS: Mapping[str, tuple[Block, ...]] = {
    "conv": (
        *_levels_by_memory("matmul", "memory", "vector"),
        _level("matmul", LAYOUT, OWN), _level("memory", LAYOUT, OWN),
        _level("matmul", ("device", "framework"), RARE), _level("memory", ("device", "framework"), RARE),
        _level("matmul", OP, OWN), _level("memory", OP, OWN),
        _curve("matmul", K, ALL), _curve("matmul", N, ALL), _curve("matmul", TAPS, LAYOUT), _curve("matmul", CHANNELS, LAYOUT),
        _curve("matmul", RAGGED, ALL, OWN, 0.1), _curve("matmul", STRIDE, ALL, OWN, 0.1),
        _curve("memory", TAPS, LAYOUT), _curve("memory", CHANNELS, LAYOUT), _curve("memory", STRIDE, ALL, OWN, 0.1),
        _curve("memory", SIDE, LAYOUT),
    ),
    "grouped": (
        *_levels_by_memory("matmul", "memory", "vector"),
        _level("matmul", LAYOUT, OWN), _level("memory", LAYOUT, OWN), _level("matmul", OP, OWN),
        _curve("matmul", CHANNELS, LAYOUT), _curve("matmul", TAPS, LAYOUT), _curve("matmul", STRIDE, LAYOUT, OWN, 0.1),
        _curve("matmul", SIDE, LAYOUT), _curve("memory", CHANNELS, LAYOUT), _curve("memory", STRIDE, LAYOUT, OWN, 0.1),
    ),
    "product": (
        *_levels_by_memory("matmul", "memory"),
        _level("matmul", RUN, RARE), _level("matmul", OP, OWN), _level("memory", OP, OWN),
        _curve("matmul", K, ALL), _curve("matmul", N, ALL), _curve("matmul", RAGGED, ALL, OWN, 0.1),
        _curve("matmul", PRODUCTS, ALL),
    ),
    "attention": (
        *_levels_by_memory("matmul", "memory", "vector"),
        _level("matmul", OP, OWN), _curve("matmul", HEAD, ALL), _curve("matmul", LENGTH, ALL),
    ),
}  # fmt: skip


def _depthwise(loads: str) -> tuple[Block, ...]:
    """No reuse across channels: memory, or the term that stands for the loads of the taps."""
    return (
        _level("memory", LAYOUT, OWN), _level("memory", (*RUN, "layout"), OWN), _level("memory", OP, OWN),
        _level(loads, LAYOUT, OWN), _level(loads, OP, OWN),
        _curve(loads, TAPS, LAYOUT), _curve(loads, STRIDE, LAYOUT, OWN, 0.1), _curve(loads, SIDE, LAYOUT),
        _curve("memory", TAPS, LAYOUT), _curve("memory", STRIDE, LAYOUT, OWN, 0.1), _curve("memory", SIDE, LAYOUT),
        _curve("memory", GROUPS, LAYOUT),
    )  # fmt: skip


MOVING = (_level("memory", OP, OWN), _level("memory", (*RUN, "op"), OWN))
SIZES = (_curve("memory", MOVED, ALL), _curve("memory", WIDTH, OP, RARE))

# Streams on a GPU come through the cache wherever they come from: what its cores ask for at once, function by function (loads of two bytes,
# a row for a block of threads), bounds norms, pooling and casts where memory is fast. An H200 has an H100's cores and 1.43 times its
# bandwidth: sums and activations take 0.71 of the time there, norms, pooling, gathers and convolutions 0.94 to 1.08 (our measurements).
# A compiler's loops ask for more at once than the functions they are made of. So do depthwise convolutions, which load every tap for each
# number: five times what memory needs with 49 taps on an H100. Launches are not fitted: the rows run large batches.
GPU: Mapping[str, tuple[Block, ...]] = {
    **SORTS,
    "depthwise": (*_levels("memory", "cache"), *_depthwise("cache"), _level("cache", RUN, OWN), _curve("cache", GROUPS, LAYOUT)),
    "stream": (
        *_levels("memory"), *MOVING, *SIZES,
        *_levels("cache"), _level("cache", OP, OWN), _curve("cache", WIDTH, OP, OWN),
        _level("cache", RUN, OWN), _level("cache", (*RUN, "op"), OWN),
    ),
}  # fmt: skip
# What one image on a CPU tells: launches (threads that fork and join) cost as much as arithmetic there, images pass through the
# cache, and depthwise convolutions wait for the cores.
CPU: Mapping[str, tuple[Block, ...]] = {
    **{sort: (*blocks, *_levels_by_memory("launch")) for sort, blocks in SORTS.items()},
    "depthwise": (*_levels_by_memory("memory", "vector"), *_depthwise("vector"), *_levels_by_memory("launch")),
    "stream": (
        *_levels_by_memory("memory", "vector"), *MOVING, _level("vector", OP, OWN), *SIZES, _curve("vector", WIDTH, OP, OWN),
        *_levels_by_memory("launch", "cache"), _level("cache", OP, RARE),
    ),
}  # fmt: skip
KINDS = {"gpu": GPU, "cpu": CPU}  # kinds of machine that share nothing
FAMILIES: Mapping[tuple[str, ...], Family] = {
    (sort, kind): Family(NAME, TERMS, SERIAL, blocks, (), (), ("sort", "kind"), POWER, None)
    for kind, sorts in KINDS.items()
    for sort, blocks in sorts.items()
}


def key_of(kernel: Kernel, machine: Machine, framework: str) -> dict[str, str]:
    """Key fields of a kernel's class."""
    return {
        "sort": sort_of(kernel), "kind": machine.kind, "device": machine.device_id, "architecture": architecture_of(machine),
        "framework": framework, "version": "", "memory": memory_of(machine), **texts_of(kernel),
    }  # fmt: skip


def memory_of(machine: Machine) -> str:
    """The sort of its main memory: ``hbm``, ``gddr``, ``dram`` …"""
    return machine.main.name


@lru_cache(maxsize=64)
def functions_of(part: Part) -> frozenset[str]:
    """The functions whose kernels a part was fitted to."""
    found: set[str] = set()
    for fitted in part.blocks:
        if "op" in fitted.block.per:
            at = fitted.block.per.index("op")
            found.update(cls[at] for cls in fitted.tables)
    return frozenset(found)


def sees(kernel: Kernel, machine: Machine) -> bool:
    """Whether :func:`see` has a view of the kernel, whatever its numbers."""
    return NAME in kernel.library and _known(kernel, machine) is not None


def _known(kernel: Kernel, machine: Machine) -> dict[str, str] | None:
    """The key of a kernel that the fit has a part for."""
    key = key_of(kernel, machine, kernel.library.get(NAME, ""))
    fit = shipped(NAME)
    part = fit.part(key) if fit is not None and key["sort"] else None
    if (
        part is None
        or key["op"] not in functions_of(part)
        or (key["sort"] in ("product", "attention") and depth_of(part, key) == "stranger")
    ):
        return None
    return key


@SEERS.register(NAME)
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """Kernels of functions that the models measured run; products and attention only on devices or kinds of them measured.

    (Tables of single products and attention kernels know more devices than whole models were measured on.)
    """
    key = _known(kernel, machine)
    if key is None:
        return None
    key["step"] = "train" if conditions.step == "train" else ""

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        return coords_of(kernel, at)

    resources = {"matmul": "matmul", "vector": "vector", "memory": machine.main.resource, "cache": "cache"}
    used = {"vector"} if "unit:transcendental" in cost.busy else set()
    used |= {term for term, resource in resources.items() if resource in cost.busy} | set(SERIAL)
    terms = {term: seconds for term, seconds in terms_of(kernel, cost, machine).items() if term in used}
    return Seen(NAME, terms, coords, key, resources)
