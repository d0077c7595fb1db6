"""Operators a profiler recorded, with the shapes they were called on → a graph, so that they can be priced like any model.

An operator's name and the dimensions of its arguments tell its work: products, convolutions and attention by their own
formulas, everything else by what it reads and writes, of which the largest argument stands for the result. The schemas are
PyTorch's (aten/src/ATen/native/native_functions.yaml); what is recorded is as ``torch.profiler`` writes it with
``record_shapes=True``: per argument its dimensions, its type, and its value where it is a scalar or a list.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..graph.ir import Graph
from .op_list.build import build
from .op_list.spec import OpListSpec

_TYPES = {
    "float": "fp32", "double": "fp64", "c10::Half": "fp16", "c10::BFloat16": "bf16", "c10::Float8_e4m3fn": "fp8",
    "long int": "int64", "long": "int64", "int": "int32", "signed char": "int8", "unsigned char": "int8", "bool": "int8",
}  # fmt: skip
MOST = 1e12  # elements of an argument that make sense


@dataclass(frozen=True, slots=True)
class Recorded:
    """An operator as it was called.

    Attributes:
        op: its name, with or without namespace (``aten::addmm``).
        shape: JSON of [dimensions, types, values] of its arguments.
        count: calls.
    """

    op: str
    shape: str
    count: int


def graph_of(recorded: Sequence[Recorded], name: str = "recorded") -> tuple[Graph, tuple[int, ...]]:
    """A graph with one op ``op<i>`` for the i-th record that can be told, and the numbers of those.

    Args:
        recorded: operators; those whose shapes are missing or make no sense are left out.
    """
    items, told = [], []
    for number, each in enumerate(recorded):
        item = _item(each)
        if item is not None:
            times = item.pop("times", 1)
            items.append({"name": f"op{number}", "count": each.count * times, **item})
            told.append(number)
    spec = msgspec.convert({"schema": 1, "name": name, "dtype": "fp32", "ops": items}, OpListSpec)
    return build(spec, name), tuple(told)


@dataclass(frozen=True, slots=True)
class _Call:
    """Arguments: dimensions of tensors (an empty list for scalars), types, values."""

    dims: list[list[int]]
    types: list[str]
    values: list[str]

    def tensors(self) -> list[list[int]]:
        return [d for d, t in zip(self.dims, self.types, strict=True) if d and t in _TYPES]

    def dtype(self) -> str:
        """The first floating type of a tensor, else of the first tensor."""
        types = [_TYPES[t] for d, t in zip(self.dims, self.types, strict=True) if d and t in _TYPES]
        return next((t for t in types if not t.startswith("int")), types[0] if types else "fp32")

    def lists(self) -> list[list[int]]:
        """Values that are lists of whole numbers, in order."""
        found = []
        for value in self.values:
            if re.fullmatch(r"\[\s*(-?\d{1,9}\s*(,\s*-?\d{1,9}\s*)*)?\]", value):
                found.append([int(v) for v in re.findall(r"-?\d+", value)])
        return found


def _item(recorded: Recorded) -> dict[str, Any] | None:
    call = _call(recorded.shape)
    if call is None or not call.tensors():
        return None
    bare = recorded.op.rsplit("::", 1)[-1]
    made = None
    for pattern, rule in _RULES:
        if pattern.match(bare):
            made = rule(call)
            break
    return made or _streamed(call)


def _call(text: str) -> _Call | None:
    try:
        dims, types, values = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(dims, list) or not isinstance(types, list) or len(dims) != len(types):
        return None
    values = values if isinstance(values, list) and len(values) == len(dims) else [""] * len(dims)
    good = [d if _is_shape(d) else [] for d in dims]
    return _Call(good, [str(t) for t in types], [str(v) for v in values])


def _is_shape(value: Any) -> bool:
    whole = isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value)
    return whole and math.prod(value) <= MOST


# rules: a call → an op of an ops file, or None where the arguments are others than expected ------------------------------


def _product(call: _Call) -> dict[str, Any] | None:
    """The last two tensors are multiplied: [m, k]·[k, n], batches before; or a vector."""
    found = [t for t in call.tensors() if len(t) >= 2]
    if len(found) < 2:
        return None
    left, right = found[-2:]
    if left[-1] != right[-2]:
        return None
    batch = math.prod(left[:-2])
    return _gemm(left[-2], right[-1], left[-1], batch, call, "yes" if batch == 1 else "no")


def _vector(call: _Call) -> dict[str, Any] | None:
    """A matrix times a vector."""
    found = call.tensors()
    matrix = next((t for t in found if len(t) == 2), None)
    return None if matrix is None else _gemm(1, matrix[0], matrix[1], 1, call, "yes")


def _linear(call: _Call) -> dict[str, Any] | None:
    """x [.., k] and a weight [n, k]."""
    found = call.tensors()
    if len(found) < 2 or len(found[1]) != 2 or found[0][-1] != found[1][1]:
        return None
    return _gemm(math.prod(found[0][:-1]), found[1][0], found[1][1], 1, call, "yes")


def _gemm(m: int, n: int, k: int, batch: int, call: _Call, constant: str) -> dict[str, Any]:
    sizes = {"m": m, "n": n, "k": k, "batch": batch, "dtype": call.dtype(), "constant": constant}
    return {"template": "gemm", "with": sizes}


def _conv(call: _Call, times: int = 1, first: int = 0) -> dict[str, Any] | None:
    """Input [b, c, h, w] and filters [f, c/g, kh, kw]; strides are told from the result where it is not there to see."""
    found = [t for t in call.tensors() if len(t) == 4][first:]
    if len(found) < 2:
        return None
    (batch, channels, height, width), (filters, inner, kernel_h, kernel_w) = found[:2]
    if channels % inner or filters % (channels // inner):
        return None  # a transposed convolution
    lists = [v for v in call.lists() if len(v) == 2]
    stride, pad = _stride_and_pad(lists, kernel_h)
    if (height + 2 * pad[0] - kernel_h) < 0 or (width + 2 * pad[1] - kernel_w) < 0:
        return None
    sizes = {
        "batch": batch, "height": height, "width": width, "channels": channels, "filters": filters, "kernel_h": kernel_h,
        "kernel_w": kernel_w, "stride_h": stride[0], "stride_w": stride[1], "pad_h": pad[0], "pad_w": pad[1],
        "groups": channels // inner, "dtype": call.dtype(),
    }  # fmt: skip
    return {"template": "conv2d", "with": sizes, "times": times}


def _stride_and_pad(lists: list[list[int]], kernel: int) -> tuple[list[int], list[int]]:
    """Of the lists of two in a call the first is the stride (``convolution``) or the padding (the libraries' own): a stride
    is no 0, and a padding no more than half the kernel."""
    if len(lists) < 2:
        return [1, 1], [kernel // 2, kernel // 2]
    one, other = lists[:2]
    if min(one) < 1 or (max(one) <= kernel // 2 and max(other) > kernel // 2):
        one, other = other, one
    return ([max(v, 1) for v in one], [max(v, 0) for v in other])


def _library_conv(call: _Call) -> dict[str, Any] | None:
    """cuDNN's and oneDNN's own: padding stands before stride."""
    lists = [v for v in call.lists() if len(v) == 2]
    swapped = _Call(call.dims, call.types, [str(lists[1]), str(lists[0])]) if len(lists) >= 2 else call
    return _conv(swapped)


def _conv_backward(call: _Call) -> dict[str, Any] | None:
    """Gradient, input, filters: as many FLOPs as the forward pass for each gradient asked for."""
    mask = re.findall(r"True|False", call.values[-1]) if call.values else []
    return _conv(call, max(sum(m == "True" for m in mask[:2]), 1), first=1)


def _attention(call: _Call) -> dict[str, Any] | None:
    """q, k, v [b, h, s, d]."""
    found = [t for t in call.tensors() if len(t) == 4]
    if len(found) < 2:
        return None
    (seqs, heads, queries, head_dim), (_, kv_heads, keys, _) = found[:2]
    if heads % kv_heads:
        return None
    sizes = {
        "seqs": seqs, "queries": queries, "keys": keys, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim,
        "causal": "yes" if "True" in call.values and queries > 1 and queries <= keys else "no", "dtype": call.dtype(),
    }  # fmt: skip
    return {"template": "attention", "with": sizes}


def _reduced(call: _Call) -> dict[str, Any]:
    elements = max(math.prod(t) for t in call.tensors())
    return {"template": "reduction", "with": {"rows": 1, "width": elements, "dtype": call.dtype()}}


def _taken(call: _Call) -> dict[str, Any]:
    """Rows of a table: as many as there are indices, each read and written once."""
    found = call.tensors()
    width = found[0][-1] if len(found[0]) > 1 else 1
    rows = math.prod(found[-1])
    return {"template": "elementwise", "with": {"elements": rows * width, "flops": 0, "dtype": call.dtype()}}


def _streamed(call: _Call) -> dict[str, Any]:
    """Reads its arguments once and writes as much as the largest has."""
    sizes = [math.prod(t) for t in call.tensors()]
    largest = max(sizes)
    inputs = max(sum(sizes) / largest, 1.0)
    return {"template": "elementwise", "with": {"elements": largest, "inputs": inputs, "dtype": call.dtype()}}


_RULES = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"^(mkldnn_linear|linear)$", _linear),
        (r"^(addmm|mm|bmm|baddbmm|_addmm_activation|matmul)$", _product),
        (r"^(addmv|mv)$", _vector),
        (r"^(cudnn|mkldnn|miopen)_(depthwise_)?convolution$", _library_conv),
        (r"^convolution_backward", _conv_backward),
        (r"^(conv\dd|convolution|_convolution|_conv_depthwise2d|thnn_conv2d|slow_conv2d_forward)$", _conv),
        (r"^(_?scaled_dot_product|_flash_attention|_efficient_attention).*(?<!backward)$", _attention),
        (r"^(sum|mean|amax|amin|max|min|argmax|argmin|prod|any|all|norm|count_nonzero)$", _reduced),
        (r"^(embedding|index_select|gather|index)$", _taken),
    )
)
