"""One call of the module on meta tensors, at a batch so large and prime that every size tells whether it is in it.

Imports torch, so it is imported only after torch was found.

Symbolic sizes cost milliseconds a call; numbers cost nothing. So the batch is a number, :data:`PROBE`: a prime beyond
any other dimension. A size that it divides is a multiple of the batch, exactly; any other size beyond
:data:`LARGEST_SIZE` depends on the batch in another way (rounded up, cut off) and the probe is refused, and PyTorch's
symbols must do. What a probe cannot see is a branch on the batch itself: it takes that of large batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._prims_common import suggest_memory_format
from torch.utils._python_dispatch import TorchDispatchMode

from ..._foundation.expr import Expr, const, sym
from .arguments import LAST, Argument, Trace, declare_rest, lead
from .dispatched import recorded_call
from .logical import Logicals, tensors_of
from .recorder import Recorder, Spoken
from .shapes import NotSymbolic, Sizes

PROBE = 67_108_859  # the largest prime below 2^26: leaves 2^35 bytes an image below PyTorch's limit of 2^63
LARGEST_SIZE = 2**22
_META = torch.device("meta")


class _ProbeSizes(Sizes):
    """Numbers as expressions: powers of the probe are powers of the batch."""

    def __init__(self) -> None:
        super().__init__({})
        self._batch = sym("batch")
        self._of: dict[int, Expr] = {}

    def expr(self, size: Any) -> Expr:
        number = int(size)
        found = self._of.get(number)
        if found is None:
            rest, power = number, 0
            while rest and rest % PROBE == 0:
                rest, power = rest // PROBE, power + 1
            found = const(rest)
            for _ in range(power):
                found = found * self._batch
            self._of[number] = found
        return found


class _Placed(TorchDispatchMode):  # type: ignore[misc]
    """Puts numbers that the module's code makes on the CPU beside the rest, and looks at the sizes that come out."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = _known(func, args)
        if out is None:
            args, kwargs = _placed(func, args, kwargs or {})
            out = func(*args, **kwargs)
        if func is torch.ops.aten.convolution.default:
            out = _channels_as_given(out, args)
        for tensor in out if isinstance(out, (list, tuple)) else (out,):
            if isinstance(tensor, torch.Tensor):
                for size in tensor.shape:
                    if size > LARGEST_SIZE and size % PROBE:
                        raise NotSymbolic(f"a size of {func} is no multiple of the batch")
        return out


_SAME_DTYPE = frozenset({
    "add", "sub", "mul", "div", "relu", "gelu", "silu", "sigmoid", "hardswish", "hardsigmoid", "tanh", "leaky_relu",
    "hardtanh", "clamp", "elu", "mish", "exp", "sqrt", "rsqrt", "neg",
})  # fmt: skip
_BATCH_NORMS = frozenset({"native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"})


def _known(func: Any, args: Sequence[Any]) -> Any:
    """Results that need no kernel to be known, for most meta kernels are Python and slow; None for all others."""
    if not args or not isinstance(args[0], torch.Tensor):
        return None
    first, name = args[0], func._schema.name.partition("::")[2]
    if first.device.type != "meta":
        return None
    if func._schema.is_mutable:
        written = [a for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        itself = (
            len(written) == 1 and written[0] is func._schema.arguments[0] and torch.Tag.inplace_view not in func.tags
        )
        return first if itself and len(func._schema.returns) == 1 else None
    if name in _BATCH_NORMS and not (name != _NO_TRAINING and args[5]):
        nothing = first.new_empty(0)
        return torch.empty_like(first), nothing, first.new_empty(0)
    if name in _SAME_DTYPE and first.is_floating_point():
        others = [a for a in args[1:] if isinstance(a, torch.Tensor)]
        if all(a.dtype == first.dtype and _follows(a, first) for a in others):
            return torch.empty_like(first)
    return None


_NO_TRAINING = "_native_batch_norm_legit_no_training"


def _follows(other: torch.Tensor, first: torch.Tensor) -> bool:
    """It is of the same shape and lies in the same way, or is a number, so that the result is like the first."""
    return bool(other.dim() == 0) or bool(other.shape == first.shape and other.stride() == first.stride())


def _channels_as_given(out: torch.Tensor, args: Sequence[Any]) -> torch.Tensor:
    """A convolution's result has its channels last where its image or its weights have (on meta tensors it never has)."""
    layouts = {suggest_memory_format(tensor) for tensor in args[:2]}
    last = LAST.get(out.dim())
    if last is None or last not in layouts:
        return out
    laid: torch.Tensor = torch.empty(out.shape, dtype=out.dtype, device=_META, memory_format=last)
    return laid


def _placed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """The arguments of a call, all on meta where one of them is, or where the batch would be allocated.

    Small tensors among themselves stay real: the module's code may look at their values.
    """
    given = tensors_of([*args, *kwargs.values()])
    if any(t.device.type == "meta" for t in given):
        return [_to_meta(a) for a in args], {name: _to_meta(value) for name, value in kwargs.items()}
    if not given and _is_large(args) and any(a.name == "device" for a in func._schema.arguments):
        return args, {**kwargs, "device": _META}
    return args, kwargs


def _is_large(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_is_large(v) for v in value)
    return isinstance(value, int) and value > LARGEST_SIZE


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.device.type != "meta":
        return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=_META)
    return type(value)(map(_to_meta, value)) if type(value) in (list, tuple) else value


def probed(module: nn.Module, arguments: Sequence[Argument], spoken: Spoken) -> Trace:
    """Trace ``module`` with its batch free.

    Raises:
        NotSymbolic: where sizes depend on the batch otherwise than as multiples of it.
        Exception: whatever the module raises on tensors that hold nothing.
    """
    first = lead(arguments)
    with _weights_on_meta(module):
        inputs = [_input(a, (PROBE, *a.shape[1:]) if a.shape[0] == first else a.shape) for a in arguments]
        recorder = Recorder(Logicals(_ProbeSizes()), spoken=spoken)
        for tensor, argument in zip(inputs, arguments, strict=True):
            recorder.logicals.declare(tensor, argument.name, "input")
        declare_rest(recorder, module)
        with _Placed(), _laid_out_attention():
            outputs = recorded_call(module, arguments, inputs, recorder)
    return Trace(recorder, outputs, "probe", False)


def _input(argument: Argument, shape: tuple[int, ...]) -> torch.Tensor:
    layout = LAST.get(len(shape)) if argument.channels_last else None
    made: torch.Tensor = torch.empty(
        shape, dtype=argument.dtype, device=_META, memory_format=layout or torch.contiguous_format
    )
    return made


@contextmanager
def _laid_out_attention() -> Iterator[None]:
    """Attention whose result lies as fused kernels leave it, head after head within a token.

    On meta tensors PyTorch takes attention apart, whose result would have to be copied before the next projection. That
    is right only where fused kernels do not apply: they want each head's features side by side.
    """
    functional: Any = nn.functional
    original = functional.scaled_dot_product_attention

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        apart = any(t.stride(-1) != 1 and t.shape[-1] > 1 for t in (query, key, value))
        if apart or query.dim() != 4 or query.shape[0] != value.shape[0]:
            return original(query, key, value, *args, **kwargs)
        batch, heads, rows, _ = query.shape
        return query.new_empty((batch, rows, heads, value.shape[-1])).transpose(1, 2)

    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original


@contextmanager
def _weights_on_meta(module: nn.Module) -> Iterator[None]:
    """Parameters and buffers without memory, while open."""
    made: dict[int, torch.Tensor] = {}
    kept: list[tuple[Any, str, Any]] = []

    def ghost(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            empty: torch.Tensor = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=_META)
            if isinstance(tensor, nn.Parameter):
                empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
            made[id(tensor)] = empty
        return made[id(tensor)]

    try:
        for part in module.modules():
            for table in (part._parameters, part._buffers):
                for name, tensor in table.items():
                    if tensor is not None and tensor.device.type != "meta":
                        kept.append((table, name, tensor))
                        table[name] = ghost(tensor)
        yield
    finally:
        for table, name, tensor in kept:
            table[name] = tensor
