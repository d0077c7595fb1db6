"""Which memory a kernel's bytes come from, and in which pieces (DESIGN decision 3: the limit is conditional on residency).

*In a model* weights, KV caches and states come cold from main memory, except weights of a model small enough to stay in
the last cache from step to step. Activations are where the previous kernels left them: a tensor of W bytes that passes
through a cache of C bytes finds at best min(1, C/W) of itself there. That is the limit; caches drop what was used longest ago,
which of a tensor read in the order it was written is what is wanted next, and what a kernel writes drives out what it reads.
We expect C²/(C² + T²) of it, T being all bytes the kernel touches (studies/2026-11-image-models.md: the RTX 4090's 72 MiB beside
the 3090's 6). In *repeated* benchmarks every operand may be warm.

*Random* accesses move whole granules: sectors of the last cache, bursts of main memory. What is read more often than it is
large comes from main memory once at least; how much of the rest does depends on the share of it that the cache holds.

What lives in the host's memory crosses its link: *copied* it is put into main memory first and read from there, *zero-copy*
it crosses at every access, *demand-paged* the pages touched are brought into main memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._foundation.arrays import Value, maximum, minimum, where
from ..hardware.machine import Machine
from ..lowering.kernels import Access, Kernel, KernelValues
from .cost import Conditions

PAGE_BYTES = 4096.0  # what demand paging moves: the base page of x86 and Arm hosts
UNIFIED = ("cpu", "soc")  # machines whose main memory is the host's


@dataclass(frozen=True, slots=True)
class Split:
    """A kernel's bytes by where they move.

    Attributes:
        required: bytes that must come from or go to main memory.
        moved: what main memory moves for them, as we expect it: whole granules, misses of what is read again or was dropped.
        near: bytes through the last cache; ``sectors`` in whole granules of it.
        into, out: bytes over the host link towards the device and away; ``into_moved``, ``out_moved`` in whole granules.
    """

    required: Value = 0.0
    moved: Value = 0.0
    near: Value = 0.0
    sectors: Value = 0.0
    into: Value = 0.0
    out: Value = 0.0
    into_moved: Value = 0.0
    out_moved: Value = 0.0


def split(kernel: Kernel, values: KernelValues, machine: Machine, conditions: Conditions) -> Split:
    """Bytes by where they move."""
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 0.0
    line, sector = machine.main.granule_bytes, cache.granule_bytes if cache is not None else 1.0
    repeated = conditions.residency == "repeated"
    required: Value = 0.0
    moved: Value = 0.0
    near: Value = 0.0
    sectors: Value = 0.0
    touched: Value = 0.0
    far = Split()
    for size in values.bytes:
        touched = touched + size
    kept = 1.0 if repeated else capacity**2 / maximum(capacity**2 + touched**2, 1.0)
    # Weights come round once a step, after all others of the model.
    turned = capacity**2 / maximum(capacity**2 + conditions.weights_bytes**2, 1.0)
    for index, access in enumerate(kernel.accesses):
        size, granule = values.bytes[index], values.granules[index]
        away = 0.0 if machine.kind in UNIFIED else sum(share for role, share in access.home if role == "host")
        if away:
            far = _host(far, access, size * away, granule, values.sizes[index], line, kernel.kind)
            size = size * (1.0 - away)
        again: Value = 0.0  # bytes read once more, that may have to come from main memory again
        if repeated:
            resident = minimum(1.0, capacity / maximum(touched, 1.0))
        elif access.cls in ("activation", "gradient", "input") and not access.tensor.startswith("grad."):
            resident = minimum(1.0, capacity / maximum(values.sizes[index], 1.0))
        elif access.cls in ("weight", "constant"):
            resident = where(conditions.weights_bytes <= capacity, 1.0, 0.0)
        else:
            resident = 0.0
        cold = size * (1.0 - resident)
        dropped: Value = 0.0  # bytes the cache could hold, but is not expected to
        if access.cls in ("activation", "gradient", "input"):
            dropped = size * resident * (1.0 - kept)
        elif access.cls in ("weight", "constant") and not repeated:
            dropped = size * resident * (1.0 - turned)
        if granule is not None and not access.write:
            whole = minimum(cold, values.sizes[index])
            again = (cold - whole) * (1.0 - minimum(1.0, capacity / maximum(values.sizes[index], 1.0)))
            cold = whole
        required = required + cold
        near = near + size
        if granule is not None:
            moved = moved + (cold + again + dropped) * _pieces(granule, line)
            sectors = sectors + size * _pieces(granule, sector)
        else:
            moved = moved + cold + dropped
            sectors = sectors + size
    return Split(
        required + far.required, moved + far.moved, near, sectors, far.into, far.out, far.into_moved, far.out_moved
    )  # fmt: skip


def _pieces(granule: Value, line: Value) -> Value:
    """Bytes moved for each byte wanted, in whole lines."""
    return -(-granule // line) * line / maximum(granule, 1e-9)


def _host(
    far: Split, access: Access, size: Value, granule: Value | None, whole: Value, line: Value, kind: str
) -> Split:  # fmt: skip
    """One access to the host's memory, added up; copies land by a write of their own, so they stage nothing."""
    over = size
    staged: Value = 0.0 if kind == "copy" else 2 * size
    if access.path == "zero-copy":
        over = size if granule is None else size * _pieces(granule, line)
        staged = 0.0
    elif access.path == "demand-paged" and granule is not None:
        over = minimum(size * _pieces(granule, PAGE_BYTES), maximum(whole, size))
        staged = over + size
    return Split(
        far.required, far.moved + staged, 0.0, 0.0,
        far.into + (0.0 if access.write else size), far.out + (size if access.write else 0.0),
        far.into_moved + (0.0 if access.write else over), far.out_moved + (over if access.write else 0.0),
    )  # fmt: skip
