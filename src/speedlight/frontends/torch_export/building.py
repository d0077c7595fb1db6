"""Builds a module without memory for its weights.

Imports torch, so it is imported only after torch was found.

Tensors above :data:`LARGEST_REAL` elements live on PyTorch's *meta* device (shapes without data); small ones are real, so
that constructors which look at numbers still work (``[x.item() for x in torch.linspace(0, 0.1, depth)]`` is how half of
all vision models set their drop rates). Initialisers do nothing: no prediction depends on the values of weights, and some
of them (``trunc_normal_``) loop until values they draw are in range.

Roads not taken: constructing under ``FakeTensorMode`` (``Module.to`` refuses fake parameters, and numbers cannot be
read); constructing for real and throwing the weights away (28 GB for a 7B model).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from ..._foundation.errors import BadInput

LARGEST_REAL = 16384
_META = torch.device("meta")


class _Weightless(TorchDispatchMode):  # type: ignore[misc]
    """Puts large new tensors on the meta device, and keeps what is computed from them there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
        takes_device = any(a.name == "device" for a in func._schema.arguments)
        if any(t.device.type == "meta" for t in tensors):
            if func is torch.ops.aten.copy_.default and args[0].device.type != "meta":
                return args[0]  # real ← nothing
            if func._schema.is_mutable and _is_initialiser(func) and args[0].device.type == "meta":
                return args[0]  # what would fill a tensor without memory
            if takes_device and kwargs.get("device") is not None:
                kwargs["device"] = _META
            args, kwargs = tree_map(_to_meta, (args, kwargs))
            return func(*args, **kwargs)
        if not tensors and takes_device:
            device = kwargs.get("device")
            if device is None or torch.device(device).type == "cpu":
                shaped = func(*args, **{**kwargs, "device": _META})
                if isinstance(shaped, torch.Tensor) and shaped.numel() > LARGEST_REAL:
                    return shaped
        return func(*args, **kwargs)


def _is_initialiser(func: Any) -> bool:
    """It overwrites its first argument, whose shape stays, and returns it."""
    schema = func._schema
    written = [a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    itself = len(written) == 1 and written[0].name == schema.arguments[0].name and len(schema.returns) == 1
    return itself and torch.Tag.inplace_view not in func.tags


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.device.type != "meta" and value.dim() > 0:
        return value.to(_META)
    return value


@contextmanager
def weightless() -> Iterator[None]:
    """New modules get parameters without memory; initialisers are skipped."""
    init: Any = nn.init
    names = [n for n in dir(init) if n.startswith("_no_grad_") or (n.endswith("_") and not n.startswith("_"))]
    saved: dict[str, Callable[..., Any]] = {n: getattr(init, n) for n in names if callable(getattr(init, n))}
    try:
        for name in saved:
            setattr(init, name, _skip)
        with _Weightless():
            yield
    finally:
        for name, function in saved.items():
            setattr(init, name, function)


def _skip(tensor: Any, *args: Any, **kwargs: Any) -> Any:
    return tensor


def ghost(module: nn.Module) -> nn.Module:
    """A copy of a live module whose large tensors have no memory.

    Raises:
        BadInput: for a module that cannot be copied (one that holds locks, files, other processes).
    """
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.numel() > LARGEST_REAL and tensor.device.type != "meta":
            empty: Any = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=_META)
            if isinstance(tensor, nn.Parameter):
                empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = empty
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise BadInput(
            f"the module {type(module).__name__} cannot be copied: {type(error).__name__}",
            expected="a module that copy.deepcopy takes",
            hint="give a factory that builds it instead",
        ) from error


def with_fake_weights(module: nn.Module, mode: Any) -> nn.Module:
    """Replace all parameters, and the buffers and tensor attributes that lack memory, by fake CPU tensors, in place.

    Args:
        module: one that nobody else uses. Small buffers stay real: code may look at their values.
        mode: the ``FakeTensorMode`` of this trace; fakes of an earlier one are replaced too.
    """
    made: dict[int, Any] = {}

    def fake(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        ours = isinstance(value, FakeTensor) and value.fake_mode is mode
        small = value.numel() <= LARGEST_REAL and not isinstance(value, (nn.Parameter, FakeTensor))
        if ours or (small and value.device.type != "meta"):
            return value
        if id(value) not in made:
            with mode:
                tensor = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="cpu")
            if isinstance(value, nn.Parameter):
                tensor = nn.Parameter(tensor, requires_grad=value.requires_grad)
            made[id(value)] = (tensor, value)
        return made[id(value)][0]

    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, tensor in table.items():
                table[name] = fake(tensor)
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                part.__dict__[name] = fake(value)
            elif type(value) in (list, tuple) and any(isinstance(v, torch.Tensor) for v in value):
                part.__dict__[name] = type(value)(fake(v) for v in value)
            elif type(value) is dict and any(isinstance(v, torch.Tensor) for v in value.values()):
                part.__dict__[name] = {k: fake(v) for k, v in value.items()}
    return module
