"""Quantisation of a model's activations to fp8 as the quantize fits see it.

One pass reads 16-bit elements and writes fp8. Stacks fuse it into the norm or the product of gate and up that makes its
input, and take scales per 128 elements (which sit in registers) or in the same pass per token: the fit is that of the
pass that applies scales. Finding scales in a pass of their own takes 0.6 to 1.2 µs more at a few tokens (vLLM, H200).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..._foundation.arrays import Value, maximum
from ..._foundation.formats import bytes_per_element
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.samples import View
from ..calibration.seen import SEERS, Seen
from ..cost import Conditions, Cost
from .in_models import at_point, once, table_format
from .quantize import quantize_view


@SEERS.register("quantize")
def see(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The view of one pass; only fp8 was measured."""
    target = kernel.attrs.get("target")
    if kernel.phase != "forward" or table_format(target) != "fp8":
        return None
    written = bytes_per_element(str(target))

    def look(at: KernelValues) -> View:
        return quantize_view(maximum(at.dims["rows"], 1.0), at.dims["width"], written, machine)

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        return again(at).coords

    first, again = once(look, values)
    terms = at_point(first.terms, point, conditions)
    resources = {"memory": machine.main.resource, "issue": "vector"}
    return Seen("quantize_scale_matrix", terms, coords, {"format": "fp8"}, resources)
