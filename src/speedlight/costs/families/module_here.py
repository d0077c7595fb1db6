"""Kernels of modules on the very machine whose operators its owner measured (``speedlight measure``, ``calibrate``).

    t = (Σ_parallel (t_r · s_r · e_r)^p)^(1/p) + Σ_serial t_r · s_r · e_r

t_r are the analytic seconds at the machine's own measured rates, s_r what the fit that ships makes of the kernel (1 where it
knows none such), and log e_r a sum of curves over the kernel's sizes, from the points: what all kernels of its sort share, what its
function has of its own. The terms are those of :mod:`.module_views` and *pages*: memory that is new from the system comes in pages
that are mapped and cleared on first touch. Allocators keep what is freed and hand it out again, but return large blocks
to the system at once (glibc: from 32 MiB on, ``M_MMAP_THRESHOLD`` in malloc's manual), so that in a loop over one operator a result of
that size pays for its pages each time. A process that has run larger models finds room for it in its heap: models are
priced without pages, points with them (studies/2026-11-calibration.md).

Features are sizes, never rates; a machine selects its curves by carrying them (``Machine.calibrations``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, log2, maximum, minimum, where
from ...hardware.machine import Curve, LocalCalibration, Machine
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.blocks import Axis, Block
from ..calibration.model import Bends, Fitted, Part, Spread, bends
from ..calibration.samples import Family
from ..calibration.seen import Seen
from ..calibration.store import shipped
from ..cost import Cost
from .module_kernels import NAME, POWER, functions_of, key_of
from .module_views import TERMS, coords_of, terms_of

SERIAL = ("launch", "pages")
RETURNED = 32.0 * 2**20  # bytes of a block from which glibc's allocator gives it back to the system when it is freed
PAGE = "page"  # seconds a byte of new memory, among a calibration's ``seconds``
DISPATCH = "dispatch"  # seconds of the host to issue an operator, likewise
RECORDED = "recorded"  # the same where autograd records it, and in the backward pass

IN_MODEL, REPEATED = "in-model", "repeated"  # among other operators, or alone in a loop

ONE = Axis("one", 0, 1)
M, N, K = Axis("m", 0, 20, 2), Axis("n", 0, 16, 2), Axis("k", 2, 14, 2)
TAPS, CHANNELS, SIDE = Axis("taps", 0, 8, 2), Axis("channels", 0, 10, 2), Axis("side", 0, 8, 2)
STRIDE, RAGGED, GROUPS = Axis("stride", 0, 4, 2), Axis("ragged", 0, 1), Axis("groups", 0, 12, 3)
SMALL = Axis("small", 0, 1)
MOVED, WIDTH, PRODUCTS = Axis("moved", -10, 8, 2), Axis("width", 0, 12, 3), Axis("b", 0, 9, 3)
HEAD, LENGTH, QUERIES = Axis("k", 3, 9, 2), Axis("n", 0, 12, 3), Axis("queries", 0, 12, 3)
FEW = Axis("m", 0, 6)
ALL, OP, AMONG, LAYOUT = (), ("op",), ("residency",), ("layout",)
FREE, SHARED, OWN = 1e-3, 1e-2, 3e-2  # ridges: a level, a curve of all, what a function has of its own


def _levels(*terms: str) -> tuple[Block, ...]:
    return (*(Block(t, (ONE,), ALL, (0.0,), FREE) for t in terms), *(Block(t, (ONE,), OP, (0.0,), OWN) for t in terms))


def _curves(term: str, *axes: Axis, per: tuple[str, ...] = ALL, smooth: float = 0.1) -> tuple[Block, ...]:
    return tuple(Block(term, (axis,), per, (smooth,), SHARED if not per else OWN) for axis in axes)


def _among() -> tuple[Block, ...]:
    """What operators take more (or less) of the caches in a model than alone in a loop: they hold others' data. Units and main
    memory are as fast as alone, and what dispatch takes more is a figure of its own; what no cache holds loses nothing."""
    return (Block("cache", (MOVED,), AMONG, (0.1,), OWN, flat=0.3),)


def _lying(*terms: str) -> tuple[Block, ...]:
    """What a convolution takes more (or less) channels last."""
    return tuple(Block(term, (ONE,), LAYOUT, (0.0,), OWN) for term in terms)


FORMATS = ("bf16", "fp16", "int8")
# Products in narrow formats are other kernels, on hosts without units for them many times slower: curves of their own, of few points.
NARROW: Mapping[str, tuple[Block, ...]] = {
    "conv": (*_levels("matmul", "memory", "cache", "launch"), *_curves("matmul", M, K, TAPS)),
    "depthwise": _levels("vector", "memory", "cache", "launch"),
    "grouped": _levels("matmul", "memory", "cache", "launch"),
    "product": (*_levels("matmul", "memory", "cache", "launch"), *_curves("matmul", M, N, K)),
    "attention": _levels("matmul", "vector", "memory", "cache", "launch"),
}
SORTS: Mapping[str, tuple[Block, ...]] = {
    "conv": (
        *_levels("matmul", "memory", "cache", "launch"), *_curves("matmul", M, N, K, TAPS, CHANNELS, STRIDE, RAGGED),
        *_curves("matmul", M, K, per=OP), *_curves("cache", MOVED), *_curves("launch", FEW),
        *_curves("matmul", SMALL), *_curves("launch", SMALL), *_curves("cache", SMALL),
        *_lying("matmul", "launch", "cache"), *_among(),
    ),
    "depthwise": (
        *_levels("vector", "memory", "cache", "launch"), *_curves("vector", TAPS, SIDE, STRIDE, GROUPS, M),
        *_curves("vector", TAPS, per=OP), *_curves("cache", MOVED), *_lying("vector", "launch", "cache"),
        *_among(),
    ),
    "grouped": (
        *_levels("matmul", "memory", "cache", "launch"), *_curves("matmul", M, CHANNELS, TAPS, SIDE, STRIDE),
    ),
    "product": (
        *_levels("matmul", "memory", "cache", "launch"), *_curves("matmul", M, N, K, RAGGED, PRODUCTS),
        *_curves("matmul", M, K, per=OP),
        Block("matmul", (Axis("m", 0, 12, 3), Axis("n", 0, 12, 3)), ALL, (0.1, 0.1), SHARED), *_curves("cache", MOVED),
        *_among(),
    ),
    "attention": (
        *_levels("matmul", "vector", "memory", "cache", "launch"), *_curves("matmul", QUERIES, LENGTH, HEAD, M), *_among(),
    ),
    "recurrent": (
        *_levels("matmul", "vector", "memory", "cache", "launch"), *_curves("matmul", N, Axis("m", 0, 8, 2)),
    ),
    "stream": (
        *_levels("memory", "cache", "vector", "launch"), *_curves("cache", MOVED), *_curves("vector", MOVED),
        *_curves("cache", MOVED, per=OP), *_curves("cache", WIDTH), *_curves("cache", WIDTH, per=OP), *_among(),
    ),
    **{f"{sort}:{form}": blocks for sort, blocks in NARROW.items() for form in FORMATS},
}  # fmt: skip
FAMILIES: Mapping[tuple[str, ...], Family] = {
    (sort,): Family(NAME, TERMS, SERIAL, blocks, (), (), ("sort",), POWER, None) for sort, blocks in SORTS.items()
}


def here(kernel: Kernel, machine: Machine) -> LocalCalibration | None:
    """The machine's own measurements of the library that runs the kernel, where they hold curves of its sort."""
    framework = kernel.library.get(NAME)
    if framework is None:
        return None
    for own in machine.calibrations:
        if own.curves and own.framework == framework and own.family == NAME:
            return own if part_of(own, class_of(kernel, machine)["sort"]) is not None else None
    return None


def dispatch(library: Mapping[str, str], stated: float, machine: Machine, step: str = "") -> float:
    """Seconds of the host to issue an operator: as measured on this machine, else as the stack states it."""
    for own in machine.calibrations:
        if own.family == NAME and own.framework == library.get(NAME):
            found = own.second(RECORDED) if step == "train" else None
            found = own.second(DISPATCH) if found is None else found
            return stated if found is None else found
    return stated


# By identity, for hashing some hundred curves takes longer than a kernel's price; the record is held, so that no other has its id.
_READY: dict[int, tuple[LocalCalibration, dict[str, Part | None]]] = {}
MOST_READY = 64


def part_of(own: LocalCalibration, sort: str) -> Part | None:
    """The curves of a sort as a fit's part; None where nothing of the sort was measured."""
    if id(own) not in _READY:
        if len(_READY) >= MOST_READY:
            _READY.clear()
        _READY[id(own)] = own, {}
    parts = _READY[id(own)][1]
    if sort not in parts:
        parts[sort] = _part(own, sort)
    return parts[sort]


def _part(own: LocalCalibration, sort: str) -> Part | None:
    tables: dict[Block, dict[tuple[str, ...], np.ndarray]] = {}
    for curve in own.curves:
        if curve.sort == sort:
            axes = tuple(Axis(*axis) for axis in curve.axes)
            block = Block(curve.term, axes, tuple(name for name, _ in curve.of))
            tables.setdefault(block, {})[tuple(value for _, value in curve.of)] = np.array(curve.values)
    if not tables:
        return None
    fitted = tuple(Fitted(block, own_tables) for block, own_tables in tables.items())
    return Part(TERMS, SERIAL, POWER, fitted, Spread((), {}), frozenset(), frozenset())


def curves_of(parts: Mapping[tuple[str, ...], Part]) -> tuple[Curve, ...]:
    """A fit's tables as a machine file keeps them; those that say nothing are left out."""
    found = []
    for (sort,), part in sorted(parts.items()):
        for fitted in part.blocks:
            block = fitted.block
            for cls, table in sorted(fitted.tables.items()):
                values = tuple(round(float(v), 3) for v in table)
                if any(values) and REPEATED not in cls:
                    axes = tuple((a.coord, float(a.low), float(a.high), float(a.step)) for a in block.axes)
                    found.append(Curve(sort, block.term, tuple(zip(block.per, cls, strict=True)), axes, values))
    return tuple(found)


def sight(kernel: Kernel, values: KernelValues, machine: Machine, cost: Cost, page: Value = 0.0) -> Seen:
    """What the curves are fitted to, and read by: terms with what ships already in them.

    Args:
        page: seconds a byte of memory that is new from the system.
    """
    key = class_of(kernel, machine)
    coords = sizes_of(kernel, values)
    terms = {**terms_of(kernel, cost, machine), "pages": fresh_bytes(kernel, values) * page}
    theirs = key_of(kernel, machine, kernel.library.get(NAME, ""))
    part = _shipped(theirs)
    if part is not None:
        factor = bends(part, {**theirs, "version": part.version(theirs)}, coords, (*TERMS, "launch")).factor
        total = factor.get("total", 1.0)
        terms = {n: t if n == "pages" else t * factor.get(n, 1.0) * total for n, t in terms.items()}
    resources = {"matmul": "matmul", "vector": "vector", "memory": machine.main.resource, "cache": "cache"}
    used = {"vector"} if "unit:transcendental" in cost.busy else set()
    used |= {term for term, resource in resources.items() if resource in cost.busy} | set(SERIAL)
    terms = {name: seconds for name, seconds in terms.items() if name in used}
    return Seen(NAME, terms, lambda at, under: coords if at is values else sizes_of(kernel, at), key, resources)


def class_of(kernel: Kernel, machine: Machine) -> dict[str, str]:
    """The class of a kernel: its sort and function, told apart where one name stands for kernels of different cost."""
    key = {**key_of(kernel, machine, kernel.library.get(NAME, "")), "residency": IN_MODEL}
    if kernel.kind == "scan" and key["sort"]:
        key["sort"] = "recurrent"
    if key["sort"] in NARROW:
        form = next((w.format for w in kernel.work if w.format in FORMATS), None)
        if form == "fp16" and machine.kind != "cpu":
            form = "bf16"  # a device's matrix units take both at one rate, so that points of either tell of both
        key["sort"] += f":{form}" if form is not None else ""
    if kernel.attrs.get("training") and kernel.fn == "batch_norm":
        key["op"] = "batch_norm+statistics"
    if kernel.fn in COPIES and _crosses(kernel):
        key["op"] = f"{kernel.fn}+across"
    return key


COPIES = ("copy", "contiguous", "clone")


def _crosses(kernel: Kernel) -> bool:
    """Whether what lies innermost in what a copy reads does not in what it writes: elements, not rows, change places."""
    before = (kernel.attrs.get("orders") or ("",))[0]
    after = (kernel.attrs.get("out_orders") or ("",))[0]
    found = {digits[-1] for digits in map(_digits, (before, after)) if digits}
    plain = max(map(max, filter(None, map(_digits, (before, after)))), default="")
    return bool(found - {plain}) if not (before and after) else _digits(before)[-1:] != _digits(after)[-1:]


def _digits(order: str) -> str:
    return "".join(c for c in order if c.isdigit())


def sizes_of(kernel: Kernel, values: KernelValues) -> dict[str, Value]:
    """Coordinates: those of the shipped fit, and sizes that a machine of few cores feels."""
    found = dict(coords_of(kernel, values))
    d = values.dims
    found.setdefault("m", log2(maximum(d.get("m", d.get("rows", 1.0)), 1.0)))
    found.setdefault("n", log2(maximum(d.get("n", 1.0), 1.0)))
    if "taps" in found:
        found["small"] = _alone(d)
    if "seqs" in d:
        found["queries"] = log2(maximum(d.get("rows", d["seqs"]) / maximum(d["seqs"], 1.0), 1.0))
    return found


# Numbers in one image up to which PyTorch multiplies it itself on hosts (aten/src/ATen/native/Convolution.cpp, use_mkldnn).
ALONE = 20480.0


def _alone(d: Mapping[str, Value]) -> Value:
    """1 where a convolution is one small image's by filters of a few points, which no library is called for; else 0."""
    points: Value = 1.0
    taken = d["in_channels"]
    for axis in "dhw":
        points, taken = points * d.get(f"out_{axis}", 1.0), taken * d.get(f"in_{axis}", 1.0)
    narrow = minimum(d.get("kernel_h", 1.0), d.get("kernel_w", 1.0)) <= 3.0
    own = (d["groups"] == 1.0) & narrow & (d["m"] < 1.5 * points) & (taken <= ALONE)
    return where(own, 1.0, 0.0)


def _shipped(key: Mapping[str, str]) -> Part | None:
    """The shipped fit's part where it knows the kernel's function."""
    fit = shipped(NAME)
    part = fit.part(key) if fit is not None else None
    return part if part is not None and key["op"] in functions_of(part) else None


def fresh_bytes(kernel: Kernel, values: KernelValues) -> Value:
    """Bytes of results that the allocator takes from the system anew."""
    found: Value = 0.0
    if kernel.attrs.get("in_place"):
        return found
    for access, size, moved in zip(kernel.accesses, values.sizes, values.bytes, strict=True):
        if access.write and access.cls in ("activation", "gradient"):
            found = found + where(size >= RETURNED, moved, 0.0)
    return found


def along(part: Part, seen: Seen, coords: Mapping[str, Value], own: LocalCalibration) -> Bends:
    """The curves at a kernel's sizes, with the points' own interval."""
    found = bends(part, seen.key, coords, (*TERMS, *SERIAL))
    low, high = own.interval
    return Bends(found.factor, math.log(low), math.log(high), "local", SHARED_ERROR)


SHARED_ERROR = 0.5  # of the variance of points' errors: kernels of a sort err together, sorts do not
