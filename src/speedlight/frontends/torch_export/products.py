"""Matrix products, convolutions, attention and recurrent layers: the calls whose FLOPs count.

Conventions: a multiply-add is 2 FLOPs; biases are not counted (nor does ``torch.utils.flop_counter`` count them).
Legend: N batch, M rows, K contraction, L queries, S keys, H query heads, G key/value heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, const, evaluate, minimum, symbols
from ..._foundation.formats import multiply_format
from ...graph.ir import ONE, Work
from .calls import Call, Facts, Handler, Touch, View, last, size_of


def _product(
    fn: str, m: Expr, n: Expr, k: Expr, batch: Expr, operands: tuple[View, View], extra: tuple[View | None, ...] = (),
    kind: str = "matmul",
) -> Facts:  # fmt: skip
    """The facts of ``batch`` products [M,K]·[K,N]; reads are left, right, then biases."""
    require_one_dtype(fn, operands)
    number = multiply_format(operands[0].dtype, operands[1].dtype)
    return Facts(
        kind, fn, (Work("matmul", size_of((const(2), batch, m, n, k)), number),),
        {"m": m, "n": n, "k": k, "batch": batch}, reads=(*operands, *[e for e in extra if e is not None]),
    )  # fmt: skip


def require_one_dtype(fn: str, operands: Sequence[View]) -> None:
    """Fake tensors do not check what kernels do: that they multiply equal dtypes."""
    dtypes = list(dict.fromkeys(v.dtype for v in operands))
    if len(dtypes) > 1:
        raise BadInput(
            f"a {fn} of {' and '.join(dtypes)} tensors does not run",
            expected="one dtype",
            hint=f"give the input a dtype, as in 1x128:{dtypes[-1]}, or the module one with --dtype",
        )


def linear(call: Call) -> Facts:
    """aten::linear(input[..., K], weight[N, K], bias[N]?)"""
    x, w = call.view("input"), call.view("weight")
    n, k = (w.shape[0], w.shape[1]) if w.rank == 2 else (const(1), w.shape[0])
    return _product("linear", size_of(x.shape[:-1]), n, k, ONE, (x, w), (call.optional("bias"),))


def mm(call: Call) -> Facts:
    a, b = call.view("self"), call.view("mat2")
    return _product(_fn(b, "mm"), a.shape[0], b.shape[1], a.shape[1], ONE, (a, b))


def addmm(call: Call) -> Facts:
    a, b = call.view("mat1"), call.view("mat2")
    return _product(_fn(b, "mm"), a.shape[0], b.shape[1], a.shape[1], ONE, (a, b), (call.view("self"),))


def _fn(right: View, otherwise: str) -> str:
    return "linear" if right.cls == "weight" else otherwise


def bmm(call: Call) -> Facts:
    a, b = call.view("self"), call.view("mat2")
    return _product("bmm", a.shape[1], b.shape[2], a.shape[2], a.shape[0], (a, b))


def baddbmm(call: Call) -> Facts:
    """aten::baddbmm and addbmm: a batched product onto a tensor that counts only where beta is not 0."""
    a, b = call.view("batch1"), call.view("batch2")
    extra = () if call.args.get("beta") == 0 else (call.view("self"),)
    return _product("bmm", a.shape[1], b.shape[2], a.shape[2], a.shape[0], (a, b), extra)


def mv(call: Call) -> Facts:
    a, b = call.view("self"), call.view("vec")
    return _product("mv", a.shape[0], const(1), a.shape[1], ONE, (a, b), (call.optional("input"),))


def dot(call: Call) -> Facts:
    views = call.views
    return _product("dot", const(1), const(1), views[0].elements, ONE, (views[0], views[1]))


def scaled_mm(call: Call) -> Facts:
    """aten::_scaled_mm and _int_mm: 8-bit operands, scales and bias beside them."""
    a, b = call.view("self"), call.view("mat2")
    extra = tuple(v for v in call.views if v not in (a, b))
    return _product("linear", a.shape[0], b.shape[1], a.shape[1], ONE, (a, b), extra)


def grouped_mm(call: Call) -> Facts:
    """aten::_grouped_mm(self[T, K], mat2[E, K, N], offs): each expert's weights on its own rows."""
    a, b = call.views[:2]
    if a.rank == 3 or b.rank == 2:  # both batched, or groups along K
        m, n, k, batch = last(a, -2), last(b, -1), last(a, -1), a.shape[0] if a.rank == 3 else ONE
    else:
        rows, n, k, batch = a.shape[0], b.shape[2], b.shape[1], b.shape[0]
        m = rows / batch
    extra = tuple(call.views[2:])
    facts = _product("grouped_linear", m, n, k, batch, (a, b), extra, kind="moe")
    if a.rank == 3 or b.rank == 2:
        return facts
    work = Work("matmul", size_of((const(2), rows, n, k)), multiply_format(a.dtype, b.dtype))
    return dataclasses.replace(facts, work=(work,))


_AXES = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}


def convolution(call: Call) -> Facts:
    """aten::convolution: 2 · batch · positions · out_channels · in_channels/groups · kernel.

    ``positions`` are the output's, or the input's for a transposed convolution, which scatters each input position over
    a whole kernel. The product dims m, n, k are those of the implicit matrix product of one group.
    """
    x, w, out = call.view("input"), call.view("weight"), call.out
    require_one_dtype("convolution", (x, w))
    rank = w.rank - 2
    groups = _groups(call, x, w)
    transposed = bool(call.args.get("transposed", False))
    kernel = size_of(w.shape[2:])
    if transposed:
        inputs, outputs = w.shape[0], w.shape[1] * groups
        m, n, k = size_of((x.shape[0], *x.shape[2:])), outputs // groups * kernel, inputs // groups
    else:
        outputs, inputs = w.shape[0], w.shape[1] * groups
        m, n, k = size_of((out.shape[0], *out.shape[2:])), outputs // groups, inputs // groups * kernel
    dims = {
        "batch": out.shape[0], "in_channels": inputs, "out_channels": outputs, "groups": groups,
        "m": m, "n": n, "k": k, "out_h": ONE, "kernel_h": ONE, "in_h": ONE,
    }  # fmt: skip
    for axis, name in enumerate(_AXES.get(rank, ())):
        dims[f"out_{name}"], dims[f"in_{name}"] = out.shape[2 + axis], x.shape[2 + axis]
        dims[f"kernel_{name}"] = w.shape[2 + axis]
    attrs: dict[str, Any] = {name: _ints(call.args.get(name)) for name in ("stride", "padding", "dilation")}
    attrs |= {"groups": int(evaluate(groups, dict.fromkeys(symbols(groups), 1))), "transposed": transposed}
    flops = size_of((m, const(2), n, k, groups))
    reads = tuple(v for v in (x, w, call.optional("bias")) if v is not None)
    return Facts(
        "conv", f"conv_transpose{rank}d" if transposed else f"conv{rank}d",
        (Work("matmul", flops, multiply_format(x.dtype, w.dtype)),), dims, attrs, reads=reads,
    )  # fmt: skip


def _groups(call: Call, x: View, w: View) -> Expr:
    """Groups of a convolution; where each image brings weights of its own, the batch is among them.

    ``attrs["groups"]`` is then that of one image.
    """
    if x.rank > 1 and x.shape[1].constant is None and not call.args.get("transposed"):
        return x.shape[1] / w.shape[1]
    return const(int(call.args.get("groups", 1)))


def _whole(value: Expr) -> Expr:
    """A constant quotient as the whole number it is."""
    number = value.constant
    return const(int(number)) if isinstance(number, float) and number.is_integer() else value


def _ints(value: Any) -> tuple[int, ...]:
    try:
        return tuple(int(v) for v in value)
    except (TypeError, ValueError):
        return ()


def attention(call: Call) -> Facts:
    """aten::scaled_dot_product_attention and the kernels behind it: q[N, H, L, E], k[N, G, S, E], v[N, G, S, Ev].

    FLOPs are of the unmasked query·key pairs: with ``is_causal`` query i sees min(i + 1, S) keys (PyTorch aligns the
    mask at the top left). An explicit mask is data: its pairs all count, as they do in the kernels that take one.
    ``attrs["rows"]``: each head's features lie side by side in q, k and v, as fused kernels on GPUs require.
    ``attrs["dropout"]``: scores are dropped at random, as training does.
    """
    q, k, v = call.view("query"), call.view("key"), call.view("value")
    require_one_dtype("scaled_dot_product_attention", (q, k, v))
    heads, kv_heads = (last(q, -3), last(k, -3)) if q.rank > 3 else (const(1), const(1))
    seqs = size_of(q.shape[:-3]) if q.rank > 3 else size_of(q.shape[:-2])
    queries, keys, width, v_width = last(q, -2), last(k, -2), last(q, -1), last(v, -1)
    causal = bool(call.args.get("is_causal", False))
    dense = queries * keys
    pairs = dense
    if causal:
        growing = minimum(queries, keys)
        pairs = growing * (growing + 1) // 2 + (queries - growing) * keys
    mask = call.optional("attn_mask") or call.optional("attn_bias")
    each = seqs * heads
    work = (
        Work("matmul", _whole(2 * (width + v_width) * each * pairs), multiply_format(q.dtype, k.dtype),
             dense=2 * (width + v_width) * each * dense if causal else None),
        Work("vector", 4 * each * pairs, "fp32"),
        Work("transcendental", each * pairs, "fp32"),
    )  # fmt: skip
    dims = {
        "heads": heads, "kv_heads": kv_heads, "qk_dim": width, "v_dim": v_width, "seqs": seqs,
        "rows": seqs * queries, "keys": seqs * keys,
    }  # fmt: skip
    attrs = {"causal": causal, "window": None, "mask": mask is not None, "rows": q.rows and k.rows and v.rows}
    if call.args.get("dropout_p"):
        attrs["dropout"] = True
    reads = (q, k, v) if mask is None else (q, k, v, mask)
    return Facts("attention", "sdpa", work, dims, attrs, reads=reads)


_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def recurrent(call: Call) -> list[Facts]:
    """aten::lstm, gru, rnn_*: for each layer and direction one product for the inputs of all steps, then the scan.

    The scan takes as many dependent steps as the sequence is long; a good kernel keeps the recurrent weights on the chip.
    """
    if "input" not in call.args or not isinstance(call.args.get("params"), list):
        return [Facts("scan", call.name, known=False)]
    x = call.view("input")
    params: list[View] = [p for p in call.args["params"] if isinstance(p, View)]
    states = [v for v in _listed(call.args.get("hx")) if isinstance(v, View)]
    biases, directions = bool(call.args.get("has_biases", True)), 2 if call.args.get("bidirectional") else 1
    layers = int(call.args.get("num_layers", 1))
    batch_first = bool(call.args.get("batch_first", False))
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])
    each = len(params) // (layers * directions)
    facts: list[Facts] = []
    source = x
    rows = steps * batch
    for layer in range(layers):
        final = layer == layers - 1
        hidden = params[layer * directions * each + 1].shape[1]
        result = call.outs[0] if final else call.fresh(rows * hidden * directions, x.dtype)
        for direction in range(directions):
            index = layer * directions + direction
            weights = params[index * each : (index + 1) * each]
            w_in, w_hidden = weights[0], weights[1]
            gates = w_in.shape[0]
            bias = (weights[2],) if biases and len(weights) > 2 else ()
            made = call.fresh(rows * gates, x.dtype)
            inputs = _product("linear", rows, gates, w_in.shape[1], ONE, (source, w_in), bias)
            facts.append(dataclasses.replace(inputs, writes=(made,)))
            number = multiply_format(x.dtype, w_hidden.dtype)
            work = [
                Work("matmul", 2 * rows * gates * hidden, number), Work("vector", rows * gates * 3, "fp32"),
                Work("transcendental", rows * gates * (5 / 4 if call.name == "lstm" else 1), "fp32"),
            ]  # fmt: skip
            half = Touch(result, rows * hidden) if directions == 2 else result
            tail = tuple(call.outs[1:]) if final and direction == directions - 1 else ()
            facts.append(
                Facts(
                    "scan", call.name, tuple(work), {"m": batch, "n": gates, "k": hidden, "batch": ONE, "steps": steps},
                    {"direction": direction, "layer": layer, "gates": _GATES.get(call.name, 1)},
                    reads=(made, w_hidden, *weights[3 if biases else 2 :], *states), writes=(half, *tail), span=steps,
                )
            )  # fmt: skip
        source = result
    return facts


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


PRODUCTS: dict[str, Handler] = {
    "linear": linear, "mm": mm, "addmm": addmm, "bmm": bmm, "baddbmm": baddbmm, "addbmm": baddbmm, "mv": mv, "addmv": mv,
    "dot": dot, "vdot": dot, "scaled_mm": scaled_mm, "int_mm": scaled_mm, "grouped_mm": grouped_mm,
    "grouped_mm_fallback": grouped_mm,
    "convolution": convolution, "convolution_overrideable": convolution, "cudnn_convolution": convolution,
    "scaled_dot_product_attention": attention, "scaled_dot_product_flash_attention": attention,
    "scaled_dot_product_flash_attention_for_cpu": attention, "scaled_dot_product_efficient_attention": attention,
    "scaled_dot_product_cudnn_attention": attention, "scaled_dot_product_fused_attention_overrideable": attention,
    "lstm": recurrent, "gru": recurrent, "rnn_tanh": recurrent, "rnn_relu": recurrent,
}  # fmt: skip
