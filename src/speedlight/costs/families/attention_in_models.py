"""Attention kernels of a model as the attention fits see them: one decode step, or a whole prompt.

Drafts that a step verifies are looked up as further query heads of their keys. Left to the analytic cost: mixtures of both in one
kernel, prompts on top of cached tokens, latent attention (its own tables). No table has backward passes: they take the forward kernel's efficiency, at 5/2 of its products (scores again, then the
gradients of values, weights, queries and keys). A rank of context parallelism multiplies s/cp queries by s keys, under a causal
mask as many pairs as a whole sequence of s/√cp: it is looked up as one. Keys and values of a model come cold from main memory: the memory term counts all bytes that price
finds cold, where a table's row counts the share that a repeated benchmark misses. Coordinates stay near the shape's own, because
the fit has tables of the whole time over the cache's, which mean little away from shapes that have it (studies/2026-11-kernels-in-models.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ..._foundation.formats import number_format
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.seen import SEERS, Seen
from ..cost import Conditions, Cost
from . import attention_decode, attention_prefill
from .attention import NO_WINDOW, Shape

# log2 of bytes over the last cache from which a benchmark's loop misses nearly all of them: below it, the table's bend of the
# memory term makes up for bytes that are not read at all.
FULL = 0.0
BACKWARD = 2.5  # products of the backward pass over the forward one's
TABLE_FORMATS = {"bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8"}


@SEERS.register("attention")
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The view of a causal attention, or None where no table measured its like."""
    stored = number_format(str(kernel.attrs.get("stored", ""))).name if kernel.attrs.get("stored") else ""
    used = number_format(str(kernel.attrs.get("format", ""))).name if kernel.attrs.get("format") else ""
    backward = kernel.fn == "sdpa_backward"
    if kernel.fn not in ("sdpa", "sdpa_backward") or not kernel.attrs.get("causal"):
        return None
    if stored not in TABLE_FORMATS or used not in TABLE_FORMATS or np.any(values.dims["qk_dim"] > 512.0):
        return None
    d = values.dims
    verify = conditions.step == "verify"
    decode = verify or conditions.step == "decode"
    train = conditions.step == "train"
    if (decode and not verify and not np.all(d["rows"] == d["seqs"])) or (
        not decode and not train and np.any(d["keys"] > d["rows"])
    ):
        return None  # several new tokens a sequence in decoding; a prompt on cached tokens
    family = attention_decode if decode else attention_prefill
    window = kernel.attrs.get("window")

    def shape(at: KernelValues) -> Shape:
        own = at.dims
        seqs = maximum(own["seqs"], 1e-9)
        new = own["rows"] / seqs
        if train:
            new = np.sqrt(own["rows"] * maximum(own["keys"], own["rows"])) / seqs
            return Shape(
                batch=maximum(own["seqs"], 1.0), new=maximum(new, 1.0), cached=0.0, heads=own["heads"],
                kv_heads=own["kv_heads"], qk_dim=own["qk_dim"], v_dim=own["v_dim"],
                window=float(window) if isinstance(window, (int, float)) else NO_WINDOW, dtype=used, kv=stored,
            )  # fmt: skip
        cached, grouped = maximum(own["keys"] / seqs - new, 0.0), 1.0
        # Tokens of one sequence share its keys, as heads of one group do; one head a key has kernels of its own.
        if verify:
            new, grouped = 1.0, where(own["heads"] > own["kv_heads"], maximum(new, 1.0), 1.0)
        return Shape(
            batch=maximum(own["seqs"], 1.0), new=maximum(new, 1.0), cached=cached,
            heads=own["heads"] * grouped, kv_heads=own["kv_heads"], qk_dim=own["qk_dim"], v_dim=own["v_dim"],
            window=float(window) if isinstance(window, (int, float)) else NO_WINDOW, dtype=used, kv=stored,
        )  # fmt: skip

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        found: Mapping[str, Value] = family.coords_of(shape(at), machine)
        return {**found, "cache": maximum(found["cache"], FULL)} if decode else found

    longer = BACKWARD / conditions.throttle if backward else 1.0 / conditions.throttle
    if not decode:  # a kernel that skips blocks of the scores does the rest as it did the whole
        longer = longer * float(kernel.attrs.get("density", 1.0))
    terms = {name: seconds * longer for name, seconds in family.terms_of(shape(values), machine).items()}
    terms["memory"] = cost.bytes / (machine.main.bandwidth * point.memory_clock)
    if not conditions.device_latency:
        terms["launch"] = 0.0
    key = {"format": f"{TABLE_FORMATS[used]}/{TABLE_FORMATS[stored]}"}
    name = "attention_decode" if decode else "attention_prefill"
    return Seen(name, terms, coords, key, {"matmul": "matmul", "memory": machine.main.resource, "cache": "cache"})
