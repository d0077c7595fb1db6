"""Quantised models as exporters write them: float operators between DequantizeLinear and QuantizeLinear (QDQ).

The rewrites, each as onnxruntime's QDQ node groups and TensorRT's explicit precision run them:

1. A product (convolution, matrix product, recurrence) whose two sides come dequantised multiplies in the stored formats
   (int8, fp8 …) and reads the stored bytes. A product with only its weights dequantised reads the stored weights and
   multiplies in its input's format (weight-only: W4A16).
2. A look-up into a dequantised table reads stored rows.
3. Any other operator all of whose floating inputs come dequantised and all of whose results are quantised at once works
   on stored values: it reads and writes them.
4. In 1 and 3 a QuantizeLinear that alone reads the result is done by the same kernel: the result is written quantised.
5. Reshaping a dequantised tensor leaves it stored. What is left over is a kernel of its own: QuantizeLinear where its
   input was written in full, DequantizeLinear before the first operator that needs the full form; of weights, once, when
   the model is loaded.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ...graph.builder import BlockBuilder
from ..torch_export.calls import Facts
from .held import Held
from .types import FLOATING, format_of

if TYPE_CHECKING:
    from .node import Node

PRODUCTS = frozenset({
    "Conv", "ConvTranspose", "MatMul", "Gemm", "FusedMatMul", "FusedConv", "FusedGemm", "LSTM", "GRU", "RNN", "Einsum",
    "TransposeMatMul", "NhwcConv",
})  # fmt: skip
_TABLES = frozenset({"Gather", "GatherElements", "GatherND"})


def plan(node: Node) -> None:
    """Decide which inputs a node reads as stored, and whether it quantises its result."""
    lazy = [i for i, h in enumerate(node.inputs) if h is not None and h.stored is not None]
    if not lazy or node.op in ("QuantizeLinear", "DequantizeLinear"):
        return
    if node.op in PRODUCTS:
        sides = [i for i in lazy if i < 2]
        if len(sides) < 2:
            sides = [i for i in sides if node.held(i).constant]
        node.stored = frozenset((*sides, *(i for i in lazy if i >= 2)))
        if len(sides) == 2:
            node.quantizes = _quantized_as(node, 0)
    elif node.op in _TABLES and lazy == [0] and node.held(0).constant:
        node.stored = frozenset({0})
    elif all(i in lazy for i, h in enumerate(node.inputs) if h is not None and h.dtype in FLOATING and not h.constant):
        outputs = range(sum(bool(name) for name in node.proto.output))
        found = [_quantized_as(node, i) for i in outputs]
        if all(found) and len(found) == 1:
            node.stored, node.quantizes = frozenset(lazy), found[0]


def _quantized_as(node: Node, index: int) -> str | None:
    """The format of the QuantizeLinear that alone reads a result."""
    reader = node.frame.sole_reader(node.proto.output[index]) if node.wants(index) else None
    if reader is None or reader.op_type != "QuantizeLinear" or reader.input[0] != node.proto.output[index]:
        return None
    node.walk.fused.add((id(node.frame), reader.output[0]))
    return _target(node, reader)


def _target(node: Node, quantize: object) -> str:
    """The format a QuantizeLinear writes: of its zero point, else its attribute, else uint8."""
    point = quantize.input[2] if len(quantize.input) > 2 else ""  # type: ignore[attr-defined]
    held = node.frame.get(point) if point else None
    if held is not None:
        return held.dtype
    for attribute in quantize.attribute:  # type: ignore[attr-defined]
        if attribute.name == "output_dtype" and attribute.i:
            return format_of(int(attribute.i), node.where)
    return "uint8"


def quantize_linear(node: Node) -> None:
    """QuantizeLinear(x, scale, zero_point?)"""
    if (id(node.frame), node.proto.output[0]) in node.walk.fused:
        node.alias(node.shape(0))
        return
    target = _target(node, node.proto)
    held = node.held(0)
    if held.stored is not None and held.home is None and held.stored.dtype == target:
        node.frame.set(
            node.proto.output[0], dataclasses.replace(held.stored, name=node.proto.output[0], shape=held.shape)
        )
        return  # back into the format it came in: nothing to do but another scale
    x = node.view(0)
    out = node.make(node.shape(0), target)
    work = BlockBuilder.element_work("quantize", x.elements)
    node.emit(Facts("quantize", "quantize", work, attrs={"target": target}, reads=tuple(node.views()), writes=(out,)))


def dequantize_linear(node: Node) -> None:
    """DequantizeLinear(x, scale, zero_point?): nothing runs until an operator needs the full form."""
    x = node.held(0)
    node.settle(x)
    dtype = node.tensor_type("output_dtype", node.dtype(1) if node.dtype(1) in FLOATING else "fp32")
    name = node.proto.output[0]
    node.frame.set(name, Held(name, dtype, node.shape(0), constant=x.constant, stored=x, by=node.proto))


def dynamic_quantize(node: Node) -> None:
    """DynamicQuantizeLinear(x) → y, scale, zero point: a pass for the range, then the quantising one."""
    x = node.view(0)
    outs = [node.make(node.shape(0), "uint8")]
    outs += [node.make((), dtype, i) for i, dtype in ((1, "fp32"), (2, "uint8")) if node.wants(i)]
    work = BlockBuilder.element_work("quantize", x.elements)
    node.emit(Facts("quantize", "quantize", work, attrs={"target": "uint8"}, reads=(x,), writes=tuple(outs)))


QUANTIZING = {
    ("", "QuantizeLinear"): quantize_linear, ("", "DequantizeLinear"): dequantize_linear,
    ("", "DynamicQuantizeLinear"): dynamic_quantize,
}  # fmt: skip
