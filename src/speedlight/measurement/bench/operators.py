"""Operators of PyTorch by name and sizes: what a benchmark runs, once for each point.

Operands are made once and stay (``residency: repeated``), random so that no value is special, in the number format asked for. What
an operator is called with and what are weights is told apart, so that a point can be captured as the module it stands for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from .made import Made
from .networks import NETWORKS

FORMATS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
MIXED = ("linear", "add", "layer_norm", "relu", "softmax", "mm", "conv2d", "batch_norm", "cat", "sum")
INTEGERS, FP8 = "linear_int8", "linear_fp8"
UNPACKED, WRITTEN_OUT = "linear_unpacked", "sdpa_math"
ABOUT = ("format", "backward", "training")  # sizes that say how an operator runs, not what it is
Run = Callable[[], object]


def operator(op: str, sizes: Mapping[str, Any], device: str = "cpu") -> Run:
    """A call without arguments that runs the operator once, or its backward pass (``backward``).

    Args:
        op: one of :data:`OPERATORS`.
        sizes: its arguments; ``format`` is the number format.
    """
    import torch

    made = operands(op, sizes, device)
    if sizes.get("backward"):
        return _gradients(torch, made)
    function, inputs, weights = made.function, made.inputs, made.weights
    if made.turn:
        turn = itertools.cycle(made.turn)
        return lambda: function(*inputs, next(turn))
    both = (*inputs, *weights)
    return lambda: function(*both)


def operands(op: str, sizes: Mapping[str, Any], device: str = "cpu") -> Made:
    """The operator and what it is called with."""
    import torch

    dtype = getattr(torch, FORMATS[str(sizes.get("format", "fp32"))])

    def tensor(*shape: int) -> Any:
        return torch.randn(*shape, dtype=torch.float32, device=device).to(dtype)

    return OPERATORS[op](torch, tensor, **{k: v for k, v in sizes.items() if k not in ABOUT})


def setting(sizes: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """What surrounds the runs of an operator: no gradients, unless they are what is measured.

    Entered once around all of them, as a model does: entering costs as much as an operator's dispatch.
    """
    import torch

    recorded: AbstractContextManager[Any] = torch.enable_grad() if trained(sizes) else torch.inference_mode()
    return recorded


def trained(sizes: Mapping[str, Any]) -> bool:
    return bool(sizes.get("backward") or sizes.get("training"))


def _gradients(torch: Any, made: Made) -> Run:
    """The backward pass alone, of all floating-point operands: what the forward pass kept is kept on."""
    if made.module is not None:
        made.module.train()
    held = [*made.inputs, *made.weights, *(made.module.parameters() if made.module is not None else ())]
    wanted = [t.requires_grad_(True) for t in held if t.is_floating_point()]
    with torch.enable_grad():
        out = made.function(*made.inputs, *made.weights)
        out = out[0] if isinstance(out, tuple) else out
    grad = torch.ones_like(out)
    return lambda: torch.autograd.grad(out, wanted, grad, retain_graph=True, allow_unused=True)


def _linear(torch: Any, tensor: Any, m: int, n: int, k: int, cold: int = 0, bias: int = 0) -> Made:
    """``cold``: bytes of different weights taken in turn, so that a cache smaller than that keeps none."""
    weights = (tensor(n, k), *((tensor(n),) if bias else ()))
    turn = tuple(tensor(n, k) for _ in range(max(2, -(-cold // (4 * n * k))))) if cold else ()
    return Made(torch.nn.functional.linear, (tensor(m, k),), weights, turn=turn)


def _linear_int8(torch: Any, tensor: Any, m: int, n: int, k: int) -> Made:
    """A linear layer whose weights are held in 8 bits and whose inputs are quantised call by call, as PyTorch does it on hosts."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the call is deprecated in favour of a library without such kernels for hosts
        whole = torch.nn.Sequential(torch.nn.Linear(k, n))
        module = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.Linear}, dtype=torch.qint8)[0]
    return Made(module, (tensor(m, k),), module=module)


def _linear_unpacked(torch: Any, tensor: Any, m: int, n: int, k: int) -> Made:
    """A linear layer whose weights are held in 8 bits and widened by a call of their own (torchao's weight-only layers)."""
    scale = tensor(n)
    weights = torch.randint(-127, 128, (n, k), dtype=torch.int8, device=scale.device)
    return Made(lambda x, w, s: torch.mm(x, w.to(x.dtype).t()) * s, (tensor(m, k),), (weights, scale))


def _linear_fp8(torch: Any, tensor: Any, m: int, n: int, k: int) -> Made:
    """A product of 8-bit floating-point operands with a scale each, as libraries of fp8 layers call it on GPUs."""
    x, weight = (t.to(torch.float8_e4m3fn) for t in (tensor(m, k), tensor(n, k)))
    one = torch.ones((), dtype=torch.float32, device=x.device)
    return Made(
        lambda x, weight: torch._scaled_mm(x, weight.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16),
        (x,),
        (weight,),
    )


def _attention_written_out(torch: Any, tensor: Any, b: int, heads: int, length: int, width: int) -> Made:
    """Attention as PyTorch's fallback computes it, of heads that lie scattered in one projection."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    q, k, v = tensor(b, length, 3, heads, width).permute(2, 0, 3, 1, 4).unbind(0)

    def run(q: Any, k: Any, v: Any) -> Any:
        with sdpa_kernel([SDPBackend.MATH]):
            return (
                torch.nn.functional.scaled_dot_product_attention(q, k, v)
                .transpose(1, 2)
                .reshape(b, length, heads * width)
            )

    return Made(run, (q, k, v))


def _mm(torch: Any, tensor: Any, m: int, n: int, k: int, lies: str = "nn") -> Made:
    """``lies``: whether each operand is transposed (``t``), as gradients of products have them."""
    x, y = tensor(m, k) if lies[0] == "n" else tensor(k, m).t(), tensor(k, n) if lies[1] == "n" else tensor(n, k).t()
    return Made(torch.mm, (x, y))


def _bmm(torch: Any, tensor: Any, b: int, m: int, n: int, k: int, lies: str = "nn") -> Made:
    return Made(torch.bmm, (tensor(b, m, k), tensor(b, k, n) if lies[1] == "n" else tensor(b, n, k).transpose(1, 2)))


def _conv(
    torch: Any, tensor: Any, b: int, channels: int, filters: int, side: int, kernel: int, stride: int = 1, groups: int = 1,
    last: int = 0, width: int = 0, cold: int = 0,
) -> Made:  # fmt: skip
    """``width``: of the kernel, where it is not square; ``cold`` as in :func:`_linear`."""
    wide = width or kernel
    x, weight = tensor(b, channels, side, side), tensor(filters, channels // groups, kernel, wide)
    if last:
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    pads = (kernel // 2, wide // 2)
    turn = tuple(weight.clone() for _ in range(max(2, -(-cold // (4 * weight.numel()))))) if cold else ()
    return Made(
        lambda x, weight: torch.nn.functional.conv2d(x, weight, None, stride, pads, 1, groups),
        (x,),
        (weight,),
        turn=turn,
    )


def _conv_of_tokens(
    torch: Any,
    tensor: Any,
    b: int,
    channels: int,
    filters: int,
    side: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
) -> Made:
    """A convolution of an image whose channels lie innermost, as the tokens of a transformer do: it runs channels last."""

    def run(x: Any, weight: Any) -> Any:
        image = x.transpose(1, 2).view(b, channels, side, side)
        return torch.nn.functional.conv2d(image, weight, None, stride, kernel // 2 if stride < kernel else 0, 1, groups)

    return Made(run, (tensor(b, side * side, channels),), (tensor(filters, channels // groups, kernel, kernel),))


def _dropout(torch: Any, tensor: Any, elements: int) -> Made:
    """What training draws at random: on hosts one number after another."""
    return Made(torch.nn.Dropout(0.1).train(), (tensor(elements),), module=torch.nn.Dropout(0.1).train())


def _attention(
    torch: Any, tensor: Any, b: int, heads: int, queries: int, keys: int, width: int, causal: int = 0, mask: int = 0
) -> Made:  # fmt: skip
    q, k, v = tensor(b, heads, queries, width), tensor(b, heads, keys, width), tensor(b, heads, keys, width)
    function = torch.nn.functional.scaled_dot_product_attention
    if not mask:
        return Made(lambda q, k, v: function(q, k, v, is_causal=bool(causal)), (q, k, v))
    return Made(function, (q, k, v, tensor(1, 1, queries, keys) * 0))


def _unary(name: str) -> Callable[..., Made]:
    def make(torch: Any, tensor: Any, elements: int) -> Made:
        return Made(getattr(torch.nn.functional, name, None) or getattr(torch, name), (tensor(elements),))

    return make


def _binary(name: str) -> Callable[..., Made]:
    def make(torch: Any, tensor: Any, elements: int) -> Made:
        return Made(getattr(torch, name), (tensor(elements), tensor(elements)))

    return make


def _function(call: Callable[[Any, Any], Any]) -> Callable[..., Made]:
    """An element-wise function that is no name of PyTorch's alone."""

    def make(torch: Any, tensor: Any, elements: int) -> Made:
        return Made(lambda x: call(torch, x), (tensor(elements),))

    return make


def _where(torch: Any, tensor: Any, elements: int) -> Made:
    chosen = tensor(elements) > 0
    return Made(torch.where, (chosen, tensor(elements), tensor(elements)))


def _cast(torch: Any, tensor: Any, elements: int) -> Made:
    return Made(lambda x: x.to(torch.float32), (tensor(elements).to(torch.int64),))


def _pick(torch: Any, tensor: Any, rows: int, table: int, columns: int) -> Made:
    """Columns of a table by their numbers, element by element."""
    places = torch.randint(0, table, (columns,), device=tensor(1).device)
    return Made(lambda table, places: table[:, places], (tensor(rows, table), places))


def _scale(torch: Any, tensor: Any, elements: int) -> Made:
    return Made(lambda x: x * 0.5, (tensor(elements),))


def _channelwise(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Made:
    """A factor for each channel of an image."""
    return Made(torch.mul, (tensor(b, channels, side, side), tensor(b, channels, 1, 1)))


def _rowwise(torch: Any, tensor: Any, rows: int, columns: int) -> Made:
    """The same row added to all."""
    return Made(torch.add, (tensor(rows, columns), tensor(columns)))


def _chain(torch: Any, tensor: Any, elements: int, steps: int) -> Made:
    """Element-wise operators one after another, each into memory of its own: what allocation costs."""

    def run(x: Any) -> Any:
        for _ in range(steps):
            x = torch.relu(x)
        return x

    return Made(run, (tensor(elements),))


def _copy(torch: Any, tensor: Any, elements: int) -> Made:
    return Made(lambda x, y: y.copy_(x), (tensor(elements), tensor(elements)))


def _cat(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Made:
    return Made(lambda x, y: torch.cat((x, y), 1), (tensor(b, channels, side, side), tensor(b, channels, side, side)))


def _transpose(torch: Any, tensor: Any, rows: int, columns: int) -> Made:
    return Made(lambda x: x.t().contiguous(), (tensor(rows, columns),))


def _heads(torch: Any, tensor: Any, b: int, heads: int, tokens: int, width: int) -> Made:
    """Heads beside one another again, as after attention."""
    return Made(lambda x: x.transpose(1, 2).reshape(b, tokens, heads * width), (tensor(b, heads, tokens, width),))


def _last(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Made:
    """An image's channels moved to the end."""
    return Made(lambda x: x.permute(0, 2, 3, 1).contiguous(), (tensor(b, channels, side, side),))


def _embedding(torch: Any, tensor: Any, tokens: int, table: int, columns: int) -> Made:
    places = torch.randint(0, table, (tokens,), device=tensor(1).device)
    return Made(torch.nn.functional.embedding, (places,), (tensor(table, columns),))


def _layer_norm(torch: Any, tensor: Any, rows: int, columns: int) -> Made:
    function = torch.nn.functional.layer_norm
    weights = (tensor(columns), tensor(columns))
    return Made(lambda x, weight, bias: function(x, (columns,), weight, bias), (tensor(rows, columns),), weights)


def _batch_norm(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Made:
    x = tensor(b, channels, side, side)
    weights = tuple(torch.ones(channels, dtype=x.dtype, device=x.device) for _ in range(4))
    return Made(torch.nn.functional.batch_norm, (x,), weights)


def _batch_norm_train(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Made:
    x = tensor(b, channels, side, side)
    module = torch.nn.BatchNorm2d(channels, dtype=x.dtype, device=x.device).train()
    return Made(module, (x,), module=module)


def _group_norm(torch: Any, tensor: Any, b: int, channels: int, side: int, groups: int = 32) -> Made:
    function = torch.nn.functional.group_norm
    weights = (tensor(channels), tensor(channels))
    return Made(lambda x, weight, bias: function(x, groups, weight, bias), (tensor(b, channels, side, side),), weights)


def _rms_norm(torch: Any, tensor: Any, rows: int, columns: int) -> Made:
    """As models write it out, in operators of its own."""

    def run(x: Any, weight: Any) -> Any:
        return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    return Made(run, (tensor(rows, columns),), (tensor(columns),))


def _softmax(torch: Any, tensor: Any, rows: int, columns: int) -> Made:
    return Made(lambda x: torch.softmax(x, 1), (tensor(rows, columns),))


def _sum(torch: Any, tensor: Any, rows: int, columns: int) -> Made:
    return Made(lambda x: x.sum(1), (tensor(rows, columns),))


def _image(call: Callable[[Any, Any], Any]) -> Callable[..., Made]:
    """An operator on images without weights."""

    def make(torch: Any, tensor: Any, b: int, channels: int, side: int) -> Made:
        return Made(lambda x: call(torch.nn.functional, x), (tensor(b, channels, side, side),))

    return make


def _gather(torch: Any, tensor: Any, rows: int, table: int, columns: int) -> Made:
    """Rows of a table at random: ``columns`` elements lie side by side."""
    source = tensor(table, columns)
    places = torch.randint(0, table, (rows,), device=source.device)
    return Made(lambda source, places: source.index_select(0, places), (source, places))


def _view(torch: Any, tensor: Any) -> Made:
    """An operator that computes nothing: what is left is dispatch."""
    return Made(lambda x: x.view(16), (tensor(4, 4),))


def _module(torch: Any, tensor: Any) -> Made:
    """A module around an operator that computes nothing: what modules add to dispatch."""
    module = torch.nn.Flatten()
    return Made(module, (tensor(4, 4),), module=module)


def _mixed(torch: Any, tensor: Any, elements: int, operators: int) -> Made:
    """Tiny operators of :data:`MIXED` after a copy that sweeps the caches of the cores: in a model, too, each finds its code and
    the dispatcher's tables where large operators left them."""
    x, y, tiny, image, weight = tensor(elements), tensor(elements), tensor(8, 8), tensor(1, 8, 4, 4), tensor(8, 8, 1, 1)
    f, one = torch.nn.functional, tensor(8)
    calls: Mapping[str, Callable[[], object]] = {
        "linear": lambda: f.linear(tiny, tiny), "add": lambda: tiny + tiny, "layer_norm": lambda: f.layer_norm(tiny, (8,), one, one),
        "relu": lambda: f.relu(tiny), "softmax": lambda: torch.softmax(tiny, 1), "mm": lambda: torch.mm(tiny, tiny),
        "conv2d": lambda: f.conv2d(image, weight), "batch_norm": lambda: f.batch_norm(image, one, one, one, one),
        "cat": lambda: torch.cat((tiny, tiny), 1), "sum": lambda: tiny.sum(1),
    }  # fmt: skip
    chosen = [calls[name] for name in MIXED[:operators]]

    def run() -> None:
        y.copy_(x)
        for call in chosen:
            call()

    return Made(run, ())


def _recorded(torch: Any, tensor: Any, steps: int = 32) -> Made:
    """Tiny operators that autograd records, and their backward pass."""

    def run(x: Any) -> None:
        y = x
        for _ in range(steps):
            y = torch.tanh(y)
        y.backward(x.detach())

    return Made(run, (tensor(16).requires_grad_(True),))


def _adamw(torch: Any, tensor: Any, tensors: int, elements: int) -> Made:
    """A step of the optimizer over so many parameters of a size."""
    held = [torch.nn.Parameter(tensor(elements)) for _ in range(tensors)]
    for each in held:
        each.grad = tensor(elements)
    return Made(torch.optim.AdamW(held).step, ())


def _recurrent(kind: str) -> Callable[..., Made]:
    def make(torch: Any, tensor: Any, b: int, steps: int, width: int) -> Made:
        x = tensor(b, steps, width)
        module = getattr(torch.nn, kind)(width, width, batch_first=True, dtype=x.dtype, device=x.device)
        return Made(module, (x,), module=module)

    return make


OPERATORS: Mapping[str, Callable[..., Made]] = {
    "linear": _linear, INTEGERS: _linear_int8, FP8: _linear_fp8, UNPACKED: _linear_unpacked, WRITTEN_OUT: _attention_written_out, "mm": _mm, "bmm": _bmm, "conv2d": _conv, "sdpa": _attention, "copy": _copy,
    **{name: _binary(name) for name in ("add", "mul", "div", "sub")},
    **{
        name: _unary(name)
        for name in ("relu", "relu_", "gelu", "silu", "exp", "tanh", "sigmoid", "hardswish", "rsqrt", "erf", "relu6", "hardsigmoid", "clone")
    },
    "scale": _scale, "channelwise": _channelwise, "rowwise": _rowwise, "chain": _chain, "cat": _cat,
    "transpose": _transpose, "heads": _heads, "last": _last, "embedding": _embedding, "layer_norm": _layer_norm,
    "batch_norm": _batch_norm, "batch_norm_train": _batch_norm_train, "group_norm": _group_norm, "rms_norm": _rms_norm,
    "softmax": _softmax, "sum": _sum, "max_pool": _image(lambda f, x: f.max_pool2d(x, 3, 2, 1)),
    "avg_pool": _image(lambda f, x: f.avg_pool2d(x, 3, 2, 1)), "mean_pool": _image(lambda f, x: f.adaptive_avg_pool2d(x, 1)),
    "upsample": _image(lambda f, x: f.interpolate(x, scale_factor=2.0, mode="nearest")), "gather": _gather, "view": _view,
    "module": _module, "mixed": _mixed, "recorded": _recorded, "adamw": _adamw, **NETWORKS,
    "conv_of_tokens": _conv_of_tokens,
    "dropout": _dropout, "where": _where, "cast": _cast, "pick": _pick, "square": _function(lambda torch, x: x.pow(2)),
    "clamp": _function(lambda torch, x: x.clamp(-1.0, 1.0)), "neg": _function(lambda torch, x: -x),
    "sin": _function(lambda torch, x: torch.sin(x)), "pad": _image(lambda f, x: f.pad(x, (1, 1, 1, 1))), "lstm": _recurrent("LSTM"), "gru": _recurrent("GRU"),
}  # fmt: skip
