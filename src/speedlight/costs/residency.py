"""Which tier a kernel's bytes come from (DESIGN decision 3: the limit is conditional on residency).

*In a model* weights, KV caches and states come cold from main memory, except weights of a model small enough to stay in
the last cache from step to step. Activations are where the previous kernels left them: a tensor of W bytes that passes
through a cache of C bytes finds at best min(1, C/W) of itself there. In *repeated* benchmarks every operand may be warm.
"""

from __future__ import annotations

from .._foundation.arrays import Value, maximum, minimum, where
from ..hardware.machine import Machine
from ..lowering.kernels import Kernel, KernelValues
from .cost import Conditions


def split(kernel: Kernel, values: KernelValues, machine: Machine, conditions: Conditions) -> tuple[Value, Value, Value]:
    """Bytes by where they move: (main memory, last cache, main-memory transactions' worth of bytes).

    The third counts whole granules for random accesses: what the memory really moves when rows are short.
    """
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 0.0
    repeated = conditions.residency == "repeated"
    main: Value = 0.0
    near: Value = 0.0
    moved: Value = 0.0
    touched: Value = 0.0
    if repeated:
        for size in values.bytes:
            touched = touched + size
    for index, access in enumerate(kernel.accesses):
        size = values.bytes[index]
        if repeated:
            resident = minimum(1.0, capacity / maximum(touched, 1.0))
        elif access.cls in ("activation", "gradient", "input") and not access.tensor.startswith("grad."):
            resident = minimum(1.0, capacity / maximum(values.sizes[index], 1.0))
        elif access.cls in ("weight", "constant"):
            resident = where(conditions.weights_bytes <= capacity, 1.0, 0.0)
        else:
            resident = 0.0
        cold = size * (1.0 - resident)
        main = main + cold
        near = near + size
        granule = values.granules[index]
        if granule is not None:
            line = machine.main.granule_bytes
            whole = -(-granule // line) * line
            moved = moved + cold * whole / granule
        else:
            moved = moved + cold
    return main, near, moved
