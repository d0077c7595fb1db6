"""Operators of onnxruntime's own domain (com.microsoft), which files it optimised contain, and fused attention.

Source: onnxruntime docs/ContribOperators.md (operator schemas), onnx.ai Attention-23.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.expr import const
from ..._foundation.formats import multiply_format
from ...graph.builder import BlockBuilder
from ...graph.ir import Work
from ..torch_export.calls import Facts, Touch, View
from .held import broadcast
from .node import Node, Rule
from .products import batched, conv, dense, gemm, linear, matmul, swapped
from .sizes import Size, product, to_expr
from .values import Unsized

MICROSOFT = "com.microsoft"


def attend(
    node: Node, q: View, k: View, v: View, sizes: tuple[Size, ...], out: View, *, causal: bool = False, mask: View | None = None,
    extra: tuple[View, ...] = (),
) -> None:  # fmt: skip
    """Scaled dot-product attention; ``sizes`` are (batch, heads, kv heads, queries, keys, width, width of values)."""
    b, h, g, l_, s, e, ev = sizes

    def shaped(view: View, *shape: Size) -> View:
        return dataclasses.replace(view, shape=tuple(map(to_expr, shape)), hints=(1,) * len(shape))

    args = {
        "query": shaped(q, b, h, l_, e), "key": shaped(k, b, g, s, e), "value": shaped(v, b, g, s, ev), "attn_mask": mask,
        "is_causal": causal,
    }  # fmt: skip
    if node.muted:
        return
    for facts in dense(node, "scaled_dot_product_attention", args, ("query", "key", "value"), [out]):
        reads = tuple(dict.fromkeys((*(facts.reads or ()), *extra)))
        node.emit(dataclasses.replace(facts, reads=reads))


def _heads(node: Node, name: str = "num_heads") -> int:
    heads = int(node.attr(name, 0))
    if heads < 1:
        raise BadFile(f"{node.where} has {heads} heads", expected="the attribute " + name)
    return heads


def packed_attention(node: Node) -> None:
    """com.microsoft Attention and QAttention(x[B, L, D], w[D, 3·H·E], bias, mask …, past?): projections and attention."""
    x_shape, w_shape = node.shape(0), node.shape(1)
    quantized = node.op == "QAttention"
    bias = node.maybe(2)
    heads = _heads(node)
    batch, queries = x_shape[0], x_shape[1]
    total = w_shape[1]
    widths: list[Size] = [*node.ints("qkv_hidden_sizes")] or [total // 3] * 3
    wide_q, wide_k, wide_v = widths
    float_type = node.dtype(3) if quantized else node.dtype(0)
    x, w = node.view(0), node.view(1)
    made = node.fresh(to_expr(product([batch, queries, total])), float_type)
    linear(node, x, swapped(w), bias, made)
    mask = node.maybe(5 if quantized else 3)
    past = node.maybe(8 if quantized else 4)
    keys: Size = queries
    if past is not None:
        keys = queries + node.shape(8 if quantized else 4)[3]
    out = node.make([batch, queries, wide_v], float_type)
    present = (node.make([2, batch, heads, keys, wide_k // heads], float_type, 1),) if node.wants(1) else ()
    sizes = (batch, heads, heads, queries, keys, wide_q // heads, wide_v // heads)
    extra = tuple(v for v in (past,) if v is not None)
    attend(node, made, made, made, sizes, out, causal=bool(node.attr("unidirectional", 0)), mask=mask, extra=extra)
    _keep(node, made, present)


def _keep(node: Node, source: View, present: tuple[View, ...]) -> None:
    """New keys and values are written behind the cached ones."""
    for out in present:
        node.emit(Facts("copy", "cat", reads=(source,), writes=(out,)))


def multi_head(node: Node) -> None:
    """com.microsoft MultiHeadAttention(q, k, v, bias, padding mask, bias, past k, past v), separate or packed."""
    heads = _heads(node)
    q_shape = node.shape(0)
    if len(q_shape) == 5:  # packed [B, L, H, 3, E]
        batch, queries, _, _, width = q_shape
        keys, wide_v = queries, width
        q = k = v = node.view(0)
        out = node.make([batch, queries, heads * width])
    else:
        batch, queries, total = q_shape
        width = total // heads
        q = node.view(0)
        k = node.maybe(1) or q
        v = node.maybe(2) or k
        kv = node.shape(1) if node.has(1) else q_shape
        keys = kv[1] if len(kv) != 4 else kv[2]
        wide_v = width
        if node.has(2):
            v_shape = node.shape(2)
            wide_v = v_shape[2] // heads if len(v_shape) == 3 else v_shape[3]
        out = node.make([batch, queries, heads * wide_v])
    pasts = tuple(node.view(i) for i in (6, 7) if node.has(i))
    if node.has(6):
        keys = keys + node.shape(6)[2]
    present = [node.make([batch, heads, keys, width if i == 1 else wide_v], index=i) for i in (1, 2) if node.wants(i)]
    sizes = (batch, heads, heads, queries, keys, width, wide_v)
    causal = bool(node.attr("unidirectional", 0))
    masks = [node.maybe(i) for i in (4, 5)]
    mask = next((m for m in masks if m is not None), None)
    attend(node, q, k, v, sizes, out, causal=causal, mask=mask, extra=pasts)
    for source, kept in zip((k, v), present, strict=False):
        _keep(node, source, (kept,))


def grouped_query(node: Node) -> None:
    """com.microsoft GroupQueryAttention(q, k, v, past k, past v, lengths …): causal, over the cache it is given."""
    heads, kv_heads = _heads(node), _heads(node, "kv_num_heads")
    batch, queries, total = node.shape(0)
    packed = not node.has(1)
    width = total // (heads + 2 * kv_heads) if packed else total // heads
    q = node.view(0)
    k = q if packed else node.view(1)
    v = q if packed else node.view(2)
    cached: Size = node.shape(3)[2] if node.has(3) else 0
    keys = cached + queries
    pasts = tuple(node.view(i) for i in (3, 4) if node.has(i))
    out = node.make([batch, queries, heads * width])
    present = [node.make([batch, kv_heads, keys, width], index=i) for i in (1, 2) if node.wants(i)]
    sizes = (batch, heads, kv_heads, queries, keys, width, width)
    attend(node, q, k, v, sizes, out, causal=cached == 0, extra=pasts)
    for source, kept in zip((k, v), present, strict=False):
        _keep(node, source, (kept,))


def attention(node: Node) -> None:
    """ai.onnx Attention(q, k, v, mask?, past k?, past v?): 4 axes [B, H, L, E], or 3 with the heads as attributes."""
    q_shape, k_shape, v_shape = (list(node.shape(i)) for i in range(3))
    flat = len(q_shape) == 3
    if flat:
        heads, kv_heads = _heads(node, "q_num_heads"), _heads(node, "kv_num_heads")
        q_shape = [q_shape[0], heads, q_shape[1], q_shape[2] // heads]
        k_shape = [k_shape[0], kv_heads, k_shape[1], k_shape[2] // kv_heads]
        v_shape = [v_shape[0], kv_heads, v_shape[1], v_shape[2] // kv_heads]
    batch, h, queries, width = q_shape
    keys = k_shape[2]
    pasts = tuple(node.view(i) for i in (4, 5) if node.has(i))
    if node.has(4):
        keys = keys + node.shape(4)[2]
    q, k, v = (node.view(i) for i in range(3))
    out = node.make([batch, queries, h * v_shape[3]] if flat else [batch, h, queries, v_shape[3]])
    present = [
        node.make([batch, k_shape[1], keys, k_shape[3] if i == 1 else v_shape[3]], index=i)
        for i in (1, 2)
        if node.wants(i)
    ]
    sizes = (batch, h, k_shape[1], queries, keys, width, v_shape[3])
    attend(node, q, k, v, sizes, out, causal=bool(node.attr("is_causal", 0)), mask=node.maybe(3), extra=pasts)
    for source, kept in zip((k, v), present, strict=False):
        _keep(node, source, (kept,))


def rotary(node: Node) -> None:
    reads = node.views()
    work = BlockBuilder.element_work("rope", reads[0].elements)
    node.emit(Facts("elementwise", "rope", work, reads=tuple(reads), writes=(node.make(node.shape(0)),)))


def skip_norm(node: Node) -> None:
    """SkipLayerNormalization and its RMS form: a residual sum and a norm in one pass; the sum may be a result too."""
    shape = node.shape(0)
    fn = "rms_norm" if "Simplified" in node.op else "group_norm" if "Group" in node.op else "layer_norm"
    reads = node.views()
    outs = [node.make(shape)]
    outs += [node.make(shape, index=i) for i in (3, 1) if node.wants(i) and (i == 3 or "Group" in node.op)]
    dims = {"rows": to_expr(product(shape[:-1])), "width": to_expr(shape[-1])}
    size = reads[0].elements
    work = (*BlockBuilder.element_work(fn, size), *BlockBuilder.element_work("add", size))
    node.emit(Facts("norm", fn, work, dims, {"residual": True}, tuple(reads), tuple(outs)))


def embed_norm(node: Node) -> None:
    """EmbedLayerNormalization(ids, segments?, words, positions, segment table?, …): three look-ups, their sum, a norm."""
    rows, words = node.shape(0), node.shape(2)
    shape = [*rows, words[1]]
    ids = [node.view(i) for i in (0, 1) if node.has(i)]
    out = node.make(shape, node.dtype(2))
    count = to_expr(product(shape))
    tables = [Touch(node.view(i), count, "random", to_expr(words[1])) for i in (2, 3, 4) if node.has(i)]
    rest = [node.view(i) for i in (5, 6) if node.has(i)]
    outs = [out, *([node.make([rows[0]], "int32", 1)] if node.wants(1) else [])]
    work = (*BlockBuilder.element_work("layer_norm", count), *BlockBuilder.element_work("add", count * 2))
    dims = {"rows": to_expr(product(rows)), "width": to_expr(words[1])}
    node.emit(Facts("norm", "layer_norm", work, dims, reads=(*tables, *ids, *rest), writes=tuple(outs)))


def matmul_nbits(node: Node) -> None:
    """MatMulNBits(a[…, K], b[N, blocks, bytes], scales, zero points?, …, bias?): packed weights, multiplied as ``a`` is."""
    n, k, bits = int(node.attr("N", 0)), int(node.attr("K", 0)), int(node.attr("bits", 4))
    shape = list(node.shape(0))
    if n < 1 or k < 1 or shape[-1] != k or not 2 <= bits <= 8:
        raise BadFile(
            f"{node.where} has K = {k}, N = {n}, {bits} bits for {shape[-1]} columns", expected="matching sizes"
        )
    packed = node.held(1)
    if packed.home is not None and packed.home.index is None and bits in (2, 4):
        packed.home.dtype, packed.home.elements = f"int{bits}_values", _packed(packed.shape or (), bits)
    x, w = node.view(0), node.view(1)
    weight = dataclasses.replace(
        w, shape=(const(n), const(k)), hints=(n, k), dtype=f"int{bits}_values" if bits < 8 else "uint8"
    )
    if bits not in (2, 4, 8):
        weight = dataclasses.replace(weight, dtype="uint8")
    extra = tuple(v for v in (node.maybe(2), node.maybe(3), node.maybe(4)) if v is not None)
    out = node.make([*shape[:-1], n])
    for facts in dense(
        node, "linear", {"input": x, "weight": weight, "bias": node.maybe(5)}, ("input", "weight"), [out]
    ):
        work = tuple(
            dataclasses.replace(v, format=multiply_format(x.dtype)) if v.unit == "matmul" else v for v in facts.work
        )
        node.emit(dataclasses.replace(facts, work=work, reads=(*(facts.reads or ()), *extra)))


def _packed(shape: tuple[Size, ...], bits: int) -> Size:
    """Values that so many bytes hold."""
    return product(shape) * (8 // bits)


def fused_matmul(node: Node) -> None:
    matmul(node)


def q_gemm(node: Node) -> None:
    """QGemm(a, scale, zero, b, scale, zero, c?, scale?, zero?)"""
    a, b = list(node.shape(0)), list(node.shape(3))
    left, right = node.view(0), node.view(3)
    if node.attr("transA", 0):
        a, left = a[::-1], swapped(left)
    if node.attr("transB", 0):
        b = b[::-1]
    else:
        right = swapped(right)
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        raise BadFile(f"{node.where} contracts {a[-1]} with {b[0]}", expected="equal sizes")
    out = node.make([a[0], b[1]], node.dtype(8) if node.has(8) else "fp32")
    linear(node, left, right, node.maybe(6), out)


def dynamic_matmul(node: Node) -> None:
    """DynamicQuantizeMatMul(a, b, scale …): the input is quantised within the kernel; MatMulIntegerToFloat(a, b, …)."""
    quantize = node.op == "DynamicQuantizeMatMul"
    a, b = list(node.shape(0)), list(node.shape(1))
    if a[-1] != b[-2]:
        raise BadFile(f"{node.where} contracts {a[-1]} with {b[-2]}", expected="equal sizes")
    out = node.make([*a[:-1], b[-1]], "fp32")
    x, w = node.view(0), node.view(1)
    if quantize:
        made = node.fresh(x.elements, "uint8")
        work = BlockBuilder.element_work("quantize", x.elements)
        node.emit(Facts("quantize", "quantize", work, attrs={"target": "uint8"}, reads=(x,), writes=(made,)))
        x = dataclasses.replace(made, shape=x.shape, hints=x.hints)
    if len(b) == 2:
        linear(node, x, swapped(w), None, out)
    else:
        batched(node, x, w, out, [*a[:-1], b[-1]], a[-1])


def q_pointwise(node: Node) -> None:
    """QLinearAdd and QLinearMul(a, scale, zero, b, scale, zero, scale, zero); one-input forms (x, scale, zero, …)."""
    two = node.op in ("QLinearAdd", "QLinearMul")
    given = [0, 3] if two else [0]
    shape = broadcast([node.shape(i) for i in given], node.where)
    fn = {"QLinearAdd": "add", "QLinearMul": "mul", "QLinearSigmoid": "sigmoid", "QLinearLeakyRelu": "leaky_relu"}[
        node.op
    ]
    views = [node.view(i) for i in given]
    out = node.make(shape, node.dtype(0))
    node.call(fn, {f"input_{i}": v for i, v in enumerate(views)}, [out], pointwise=True)


def q_concat(node: Node) -> None:
    """QLinearConcat(scale, zero, x1, scale1, zero1, x2 …)"""
    given = list(range(2, len(node.inputs), 3))
    shapes = [node.shape(i) for i in given]
    axis = node.axis(len(shapes[0]))
    total: Size = 0
    for shape in shapes:
        total = total + shape[axis]
    views = [node.view(i) for i in given]
    node.call("cat", {"tensors": views}, [node.make([*shapes[0][:axis], total, *shapes[0][axis + 1 :]], node.dtype(2))])


def q_pool(node: Node) -> None:
    """QLinearGlobalAveragePool and QLinearAveragePool(x, scale, zero, …)"""
    from .windows import window

    shape = node.shape(0)
    if "Global" in node.op:
        spatial: list[Size] = [1] * (len(shape) - 2)
        kernel: list[int] = []
    else:
        spatial, kernel = window(node, list(shape[2:]), node.ints("kernel_shape"))
    if node.attr("channels_last", 0):
        raise Unsized(f"{node.where}: channels last")
    x = node.view(0)
    out = node.make([*shape[:2], *spatial])
    work = (Work("vector", out.elements * math.prod(kernel) if kernel else x.elements, "fp32"),)
    node.emit(Facts("reduction", "avg_pool", work, attrs={"kernel": tuple(kernel)}, reads=(x,), writes=(out,)))


def gather_quantized(node: Node) -> None:
    """GatherBlockQuantized(data, indices, scales, zero points?): stored rows, expanded on the way."""
    shape, picked = node.shape(0), node.shape(1)
    axis = int(node.attr("gather_axis", 0))
    after = [*shape[:axis], *picked, *shape[axis + 1 :]]
    table, indices, scales = node.view(0), node.view(1), node.view(2)
    out = node.make(after, node.dtype(2))
    width = to_expr(product(shape[axis + 1 :]))
    share = to_expr(product(picked)) / to_expr(shape[axis])
    reads = (
        Touch(table, out.elements, "random", width),
        indices,
        Touch(scales, scales.elements * share, "random", const(1)),
    )
    dims = {"rows": to_expr(product(picked)), "width": width}
    node.emit(
        Facts(
            "embedding", "embedding", BlockBuilder.element_work("mul", out.elements), dims, reads=reads, writes=(out,)
        )
    )


def bias_softmax(node: Node) -> None:
    shape = node.shape(0)
    axis = int(node.attr("axis", 1)) % max(len(shape), 1)
    reads = node.views()
    width = to_expr(product(shape[axis:]))
    work = (
        *BlockBuilder.element_work("softmax", reads[0].elements),
        *BlockBuilder.element_work("add", reads[0].elements),
    )
    dims = {"rows": reads[0].elements / width, "width": width}
    node.emit(Facts("softmax", "softmax", work, dims, reads=tuple(reads), writes=(node.make(shape),)))


def bias_add(node: Node) -> None:
    """BiasAdd(x, bias, skip), BiasSplitGelu(x, bias)."""
    shape = list(node.shape(0))
    if node.op == "BiasSplitGelu":
        shape[-1] = shape[-1] // 2
    views = node.views()
    fn = "add" if node.op == "BiasAdd" else "gelu"
    node.call(fn, {f"input_{i}": v for i, v in enumerate(views)}, [node.make(shape)], pointwise=True)


def fused_conv(node: Node) -> None:
    """FusedConv: a convolution with its activation, and perhaps a sum, in its epilogue."""
    conv(node)


_RULES: dict[str, Any] = {
    "Attention": packed_attention, "QAttention": packed_attention, "MultiHeadAttention": multi_head,
    "GroupQueryAttention": grouped_query, "RotaryEmbedding": rotary, "SkipLayerNormalization": skip_norm,
    "SkipSimplifiedLayerNormalization": skip_norm, "EmbedLayerNormalization": embed_norm, "MatMulNBits": matmul_nbits,
    "FusedMatMul": fused_matmul, "FusedMatMulActivation": fused_matmul, "TransposeMatMul": fused_matmul,
    "FusedGemm": gemm, "FusedConv": fused_conv, "QGemm": q_gemm, "DynamicQuantizeMatMul": dynamic_matmul,
    "MatMulIntegerToFloat": dynamic_matmul, "QLinearAdd": q_pointwise, "QLinearMul": q_pointwise,
    "QLinearSigmoid": q_pointwise, "QLinearLeakyRelu": q_pointwise, "QLinearConcat": q_concat,
    "QLinearGlobalAveragePool": q_pool, "QLinearAveragePool": q_pool, "GatherBlockQuantized": gather_quantized,
    "BiasSoftmax": bias_softmax, "BiasAdd": bias_add, "BiasSplitGelu": bias_add, "SkipGroupNorm": skip_norm,
}  # fmt: skip
CONTRIB: dict[tuple[str, str], Rule] = {
    **{(MICROSOFT, name): rule for name, rule in _RULES.items()},
    ("", "Attention"): attention, ("", "RotaryEmbedding"): rotary,
}  # fmt: skip

__all__ = ["CONTRIB"]
