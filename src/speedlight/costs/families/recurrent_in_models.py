"""Delta-rule recurrences and short convolutions of a model as the linear-attention fits see them.

The measured recurrence normalises queries and keys and computes its gates; stacks that run it so fuse those ops into it
(``delta_rule`` in a stack's file). States come cold. Mamba-2's scans were not measured and stay analytic; its convolution
is the delta rule's, whose table more stacks measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.samples import View
from ..calibration.seen import SEERS, Seen, framework_of
from ..cost import Conditions, Cost
from .in_models import at_point, cold, once
from .recurrent import code_of, convolution_view, recurrence_view

TABLES_OF = {"gated_delta": "gated_delta_net", "kimi_delta": "kimi_delta_attention"}
MEASURED_TAPS = 4.0
MEASURED_WIDTH = 128.0  # of a head's keys and values


@SEERS.register("gated_delta")
@SEERS.register("kimi_delta")
def see_recurrence(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The recurrence: in chunks over a prompt, token by token in decoding."""
    d = values.dims
    if kernel.phase != "forward" or np.any(d["state"] != MEASURED_WIDTH) or np.any(d["head_dim"] != MEASURED_WIDTH):
        return None
    decode = conditions.step == "decode"

    def look(at: KernelValues) -> View:
        seqs, new = _sequences(at)
        own = at.dims
        return recurrence_view(
            seqs, new, own["key_heads"], own["heads"], own["state"], own["head_dim"], not decode, machine, decode
        )

    return _seen(TABLES_OF[kernel.fn], "recurrence", look, values, machine, point, conditions)


@SEERS.register("conv1d_depthwise")
def see_convolution(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The causal convolution over queries, keys and values."""
    taps = kernel.attrs.get("kernel")
    if kernel.phase != "forward" or taps != MEASURED_TAPS or not kernel.attrs.get("causal"):
        return None
    if "seqs" not in values.dims:
        return None

    def look(at: KernelValues) -> View:
        seqs, new = _sequences(at)
        decode = conditions.step == "decode"
        return convolution_view(
            seqs, new, at.dims["width"], taps, at.dims["width"], machine, 0.0 if decode else seqs, decode
        )

    seen = _seen("gated_delta_net", "convolution", look, values, machine, point, conditions)
    named = "causal_conv1d_update" if conditions.step == "decode" else "causal_conv1d_fn"
    code = code_of(named, framework_of(kernel.library, seen.family, seen.key["format"]))
    return dataclasses.replace(seen, key={**seen.key, "implementation": code})


def _sequences(at: KernelValues) -> tuple[Value, Value]:
    """(sequences, new tokens of each)."""
    seqs = maximum(at.dims["seqs"], 1.0)
    return seqs, maximum(at.dims["rows"] / seqs, 1.0)


def _seen(
    family: str, operation: str, look: Callable[[KernelValues], View], values: KernelValues, machine: Machine, point: OperatingPoint,
    conditions: Conditions,
) -> Seen:  # fmt: skip
    decode = conditions.step == "decode"

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        found = again(at).coords
        return cold(found) if decode else found  # a prompt moves activations, not states

    first, again = once(look, values)
    terms = at_point(first.terms, point, conditions, fixed=("launch", "each"))
    products = "matmul" if operation == "recurrence" and not decode else "vector"
    resources = {"matmul": products, "memory": machine.main.resource, "issue": "vector"}
    return Seen(family, terms, coords, {"format": f"{operation}-{'step' if decode else 'context'}"}, resources)
