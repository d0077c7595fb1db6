"""Dense products: GEMM, convolution, attention, recurrent layers; a multiply-add is 2 FLOPs."""

from __future__ import annotations

from ...._foundation.expr import Expr, const, minimum
from ...._foundation.formats import multiply_format
from ....graph.ir import Operand, Work
from ..site import Site, matmul, streamed, vector
from .template import number_format, size, template, tensor, word


@template(
    "dense", m=size("rows of A and C"), n=size("columns of B and C"), k=size("columns of A, rows of B"),
    batch=size("products", 1), dtype=number_format("A, B and C"), weights=number_format("B, where it is stored otherwise", ""),
    constant=word("whether B is weights of the model or an input", "yes", "no"), a=tensor("A"), b=tensor("B"),
)  # fmt: skip
def gemm(
    site: Site, m: Expr, n: Expr, k: Expr, batch: Expr, dtype: str, weights: str, constant: str, a: str | None, b: str | None
) -> None:  # fmt: skip
    """C[m, n] = A[m, k] · B[k, n], ``batch`` times with matrices of their own.

    2·m·n·k FLOPs a product; each matrix moves once. Golub and Van Loan, Matrix Computations, §1.1.
    """
    stored = weights or dtype
    left = site.source(a, "a", batch * m * k, dtype)
    right = site.source(b, "b", batch * n * k, stored, "weight" if constant == "yes" else "input")
    single = batch.constant == 1
    site.op(
        "matmul", ("linear" if constant == "yes" else "mm") if single else "bmm", reads=[left, right],
        writes=[site.result(batch * m * n, dtype)], work=[matmul(2 * batch * m * n * k, multiply_format(stored, dtype))],
        dims={"m": m, "n": n, "k": k, "batch": batch}, attrs={"weights": stored, "activations": dtype},
    )  # fmt: skip


@template(
    "dense", batch=size("images"), height=size("of the input"), width=size("of the input"), channels=size("of the input"),
    filters=size("channels of the output"), kernel_h=size("of the filter"), kernel_w=size("of the filter", "kernel_h"),
    stride_h=size("", 1), stride_w=size("", "stride_h"), pad_h=size("zeros on each side", 0), pad_w=size("zeros on each side", "pad_h"),
    groups=size("groups of channels", 1), dtype=number_format("of all three"), x=tensor("the input"), weight=tensor("the filters"),
)  # fmt: skip
def conv2d(
    site: Site, batch: Expr, height: Expr, width: Expr, channels: Expr, filters: Expr, kernel_h: Expr, kernel_w: Expr,
    stride_h: Expr, stride_w: Expr, pad_h: Expr, pad_w: Expr, groups: Expr, dtype: str, x: str | None, weight: str | None,
) -> None:  # fmt: skip
    """A 2-D convolution.

    2 · batch · out_h · out_w · filters · channels/groups · kernel_h · kernel_w FLOPs, where out = (in + 2·pad − kernel) //
    stride + 1: Dumoulin and Visin, arXiv 1603.07285, relationship 6. Rows and columns that strides skip are not read.
    """
    out_h = (height + 2 * pad_h - kernel_h) // stride_h + 1
    out_w = (width + 2 * pad_w - kernel_w) // stride_w + 1
    m, n, k = batch * out_h * out_w, filters / groups, channels / groups * kernel_h * kernel_w
    source = site.source(x, "x", batch * height * width * channels, dtype)
    seen = minimum(height, out_h * kernel_h) * minimum(width, out_w * kernel_w)
    filters_of = site.source(weight, "weight", filters * k, dtype, "weight")
    site.op(
        "conv", "conv2d", reads=[streamed(source, batch * channels * seen), filters_of], writes=[site.result(m * filters, dtype)],
        work=[matmul(2 * m * filters * k, multiply_format(dtype))],
        dims={
            "batch": batch, "in_channels": channels, "out_channels": filters, "groups": groups, "m": m, "n": n, "k": k,
            "out_h": out_h, "out_w": out_w, "in_h": height, "in_w": width, "kernel_h": kernel_h, "kernel_w": kernel_w,
        },
    )  # fmt: skip


@template(
    "dense", seqs=size("sequences"), queries=size("query positions of each"), keys=size("key positions of each", "queries"),
    heads=size("query heads"), kv_heads=size("key and value heads", "heads"), head_dim=size("width of a head"),
    causal=word("whether query i of q sees only the keys up to its own", "no", "yes"), dtype=number_format("of q, k and v"),
    q=tensor("queries"), k=tensor("keys"), v=tensor("values"),
)  # fmt: skip
def attention(
    site: Site, seqs: Expr, queries: Expr, keys: Expr, heads: Expr, kv_heads: Expr, head_dim: Expr, causal: str, dtype: str,
    q: str | None, k: str | None, v: str | None,
) -> None:  # fmt: skip
    """softmax(q·kᵀ)·v in one kernel: the scores never leave the chip.

    4 · seqs · heads · head_dim FLOPs a query·key pair; causal pairs are the unmasked ones, queries aligned with the last keys.
    Dao et al., FlashAttention, arXiv 2205.14135, §3.1.
    """
    dense = queries * keys
    seen = minimum(queries, keys)
    pairs = dense if causal == "no" else seen * (keys - seen) + seen * (seen + 1) / 2
    every = seqs * heads * pairs
    rows = seqs * queries
    reads = [
        site.source(q, "q", rows * heads * head_dim, dtype), site.source(k, "k", seqs * keys * kv_heads * head_dim, dtype),
        site.source(v, "v", seqs * keys * kv_heads * head_dim, dtype),
    ]  # fmt: skip
    site.op(
        "attention", "sdpa", reads=reads, writes=[site.result(rows * heads * head_dim, dtype)],
        work=[
            matmul(4 * head_dim * every, multiply_format(dtype), None if causal == "no" else 4 * head_dim * seqs * heads * dense),
            vector(4 * every), Work("transcendental", every),
        ],
        dims={"heads": heads, "kv_heads": kv_heads, "qk_dim": head_dim, "v_dim": head_dim, "seqs": seqs, "rows": rows, "keys": seqs * keys},
        attrs={"causal": causal == "yes", "window": None, "mask": False, "format": dtype, "stored": dtype},
    )  # fmt: skip


_GATES = {"vanilla": 1, "gru": 3, "lstm": 4}


@template(
    "dense", cell=word("", "lstm", "gru", "vanilla"), hidden=size("width of the state"), inputs=size("width of an input", "hidden"),
    batch=size("sequences"), steps=size("of each sequence, one after the other"), dtype=number_format("of all"),
    project=word("whether the inputs' products are part of it", "yes", "no"), x=tensor("the inputs"),
)  # fmt: skip
def rnn(
    site: Site, cell: str, hidden: Expr, inputs: Expr, batch: Expr, steps: Expr, dtype: str, project: str, x: str | None
) -> None:  # fmt: skip
    """A recurrent layer: the inputs' products of all steps at once, then one dependent step after the other.

    A step is 2 · batch · gates · hidden² FLOPs, gates 1 (vanilla), 3 (GRU) or 4 (LSTM); a good kernel keeps the recurrent
    weights on the chip. Diamos et al., Persistent RNNs, ICML 2016.
    """
    gates = _GATES[cell]
    rows, width = batch * steps, hidden * gates
    number = multiply_format(dtype)
    source = site.source(x, "x", rows * (inputs if project == "yes" else width), dtype)
    if project == "yes":
        made = site.result(rows * width, dtype, "gates")
        site.op(
            "matmul", "linear", step="inputs", reads=[source, site.source(None, "w_inputs", inputs * width, dtype, "weight")],
            writes=[made], work=[matmul(2 * rows * inputs * width, number)],
            dims={"m": rows, "n": width, "k": inputs, "batch": const(1)}, attrs={"weights": dtype, "activations": dtype},
        )  # fmt: skip
        source = made
    recurrent = site.source(None, "w_hidden", hidden * width, dtype, "weight")
    site.op(
        "scan", cell, step="steps" if project == "yes" else "", reads=[Operand(source), Operand(recurrent)],
        writes=[site.result(rows * hidden, dtype)], span=steps,
        work=[matmul(2 * rows * width * hidden, number), vector(3 * rows * width)],
        dims={"m": batch, "n": width, "k": hidden, "steps": steps},
    )  # fmt: skip
