"""Operators of PyTorch by name and sizes: what a benchmark runs, once for each point.

Operands are made once and stay (``residency: repeated``), random so that no value is special, in the number format asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FORMATS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
Run = Callable[[], object]


def operator(op: str, sizes: Mapping[str, Any], device: str = "cpu") -> Run:
    """A call without arguments that runs the operator once.

    Args:
        op: one of :data:`OPERATORS`.
        sizes: its arguments; ``format`` is the number format.
    """
    import torch

    dtype = getattr(torch, FORMATS[str(sizes.get("format", "fp32"))])

    def tensor(*shape: int) -> Any:
        return torch.randn(*shape, dtype=torch.float32, device=device).to(dtype)

    numbers = {k: v for k, v in sizes.items() if k != "format"}
    run = OPERATORS[op](torch, tensor, **numbers)

    def quietly() -> object:
        with torch.inference_mode():
            return run()

    return quietly


def _linear(torch: Any, tensor: Any, m: int, n: int, k: int) -> Run:
    x, weight = tensor(m, k), tensor(n, k)
    return lambda: torch.nn.functional.linear(x, weight)


def _mm(torch: Any, tensor: Any, m: int, n: int, k: int) -> Run:
    x, y = tensor(m, k), tensor(k, n)
    return lambda: torch.mm(x, y)


def _bmm(torch: Any, tensor: Any, b: int, m: int, n: int, k: int) -> Run:
    x, y = tensor(b, m, k), tensor(b, k, n)
    return lambda: torch.bmm(x, y)


def _conv(
    torch: Any, tensor: Any, b: int, channels: int, filters: int, side: int, kernel: int, stride: int = 1, groups: int = 1,
    last: int = 0,
) -> Run:  # fmt: skip
    x, weight = tensor(b, channels, side, side), tensor(filters, channels // groups, kernel, kernel)
    if last:
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    return lambda: torch.nn.functional.conv2d(x, weight, None, stride, kernel // 2, 1, groups)


def _attention(torch: Any, tensor: Any, b: int, heads: int, queries: int, keys: int, width: int) -> Run:
    q, k, v = tensor(b, heads, queries, width), tensor(b, heads, keys, width), tensor(b, heads, keys, width)
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)


def _unary(name: str) -> Callable[..., Run]:
    def make(torch: Any, tensor: Any, elements: int) -> Run:
        x = tensor(elements)
        function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
        return lambda: function(x)

    return make


def _add(torch: Any, tensor: Any, elements: int) -> Run:
    x, y = tensor(elements), tensor(elements)
    return lambda: x + y


def _copy(torch: Any, tensor: Any, elements: int) -> Run:
    x, y = tensor(elements), tensor(elements)
    return lambda: y.copy_(x)


def _transpose(torch: Any, tensor: Any, rows: int, columns: int) -> Run:
    x = tensor(rows, columns)
    return lambda: x.t().contiguous()


def _layer_norm(torch: Any, tensor: Any, rows: int, columns: int) -> Run:
    x, weight, bias = tensor(rows, columns), tensor(columns), tensor(columns)
    return lambda: torch.nn.functional.layer_norm(x, (columns,), weight, bias)


def _batch_norm(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Run:
    x = tensor(b, channels, side, side)
    mean, variance, weight, bias = (torch.ones(channels, dtype=x.dtype, device=x.device) for _ in range(4))
    return lambda: torch.nn.functional.batch_norm(x, mean, variance, weight, bias)


def _softmax(torch: Any, tensor: Any, rows: int, columns: int) -> Run:
    x = tensor(rows, columns)
    return lambda: torch.softmax(x, 1)


def _sum(torch: Any, tensor: Any, rows: int, columns: int) -> Run:
    x = tensor(rows, columns)
    return lambda: x.sum(1)


def _pool(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Run:
    x = tensor(b, channels, side, side)
    return lambda: torch.nn.functional.max_pool2d(x, 3, 2, 1)


def _gather(torch: Any, tensor: Any, rows: int, table: int, columns: int) -> Run:
    """Rows of a table at random: ``columns`` elements lie side by side."""
    source = tensor(table, columns)
    places = torch.randint(0, table, (rows,), device=source.device)
    return lambda: source.index_select(0, places)


def _view(torch: Any, tensor: Any) -> Run:
    """An operator that computes nothing: what is left is dispatch."""
    x = tensor(4, 4)
    return lambda: x.view(16)


def _lstm(torch: Any, tensor: Any, b: int, steps: int, width: int) -> Run:
    net = torch.nn.LSTM(width, width, batch_first=True).eval()
    x = tensor(b, steps, width)
    return lambda: net(x)


OPERATORS: Mapping[str, Callable[..., Run]] = {
    "linear": _linear, "mm": _mm, "bmm": _bmm, "conv2d": _conv, "sdpa": _attention, "add": _add, "copy": _copy,
    "transpose": _transpose, "relu": _unary("relu"), "gelu": _unary("gelu"), "silu": _unary("silu"), "exp": _unary("exp"),
    "tanh": _unary("tanh"), "layer_norm": _layer_norm, "batch_norm": _batch_norm, "softmax": _softmax, "sum": _sum,
    "max_pool": _pool, "gather": _gather, "view": _view, "lstm": _lstm,
}  # fmt: skip
