"""What TorchScript calls by name: arithmetic on sizes and lists here, operators of ATen through PyTorch. Imports torch.

TorchScript writes ``torch.add`` for two sizes as for two tensors. Where no tensor is among the arguments Python's own
arithmetic does (on symbolic sizes too); all else must be an operator that PyTorch's dispatcher knows, so that nothing of the
interpreter's own (``aten::save`` writes files) is in reach.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..._foundation.errors import BadFile, Unsupported
from ..pt2.values import FORBIDDEN
from .objects import TensorRecord

# ``c10::ScalarType``, which TorchScript writes as a number.
DTYPES: tuple[torch.dtype | None, ...] = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, None, None, None, torch.bfloat16,
)  # fmt: skip
_FORMATS = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
MOST_ITEMS = 10_000  # of a list with all that lies in it, a text or the tensors one call returns
NESTING = (list, tuple, dict)  # what may hold itself
_MOST_BITS = 64


class ScriptError(Exception):
    """What the program itself raises, and what it cannot do."""


def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return a / b
    return a // b if rounding_mode == "floor" else math.trunc(a / b)


def _slice(values: Any, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    return values[start:end:step]


def _pop(values: list[Any], at: int = -1) -> Any:
    return values.pop(at)


def _set_item(target: Any, key: Any, value: Any) -> None:
    target[key] = value


def _text(value: Any) -> str:
    """What a message says of a value; of lists their kind, for they may hold each other without end."""
    return type(value).__name__ if isinstance(value, NESTING) else str(value)[:400]


def _format(text: str, *values: Any) -> str:
    for value in values:
        text = text.replace("{}", _text(value), 1)
    return text


def _changed(how: str) -> Callable[..., Any]:
    def change(values: Any, *more: Any) -> Any:
        getattr(values, how)(*more)
        return values

    return change


def _same(value: Any) -> Any:
    return value


def _dtype_or(value: Any) -> Any:
    """A number where the other side is a dtype."""
    return DTYPES[value] if type(value) is int and 0 <= value < len(DTYPES) else value


def _equal(a: Any, b: Any) -> Any:
    if isinstance(a, torch.dtype) or isinstance(b, torch.dtype):
        return _dtype_or(a) == _dtype_or(b)
    return a == b


# Of lists, texts and dictionaries, whatever they hold.
CONTAINERS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "add_": operator.iadd, "mul": operator.mul, "len": len, "slice": _slice, "list": list,
    "copy": lambda v: v.copy(), "append": _changed("append"), "extend": _changed("extend"), "insert": _changed("insert"),
    "reverse": _changed("reverse"), "clear": _changed("clear"), "pop": _pop, "_set_item": _set_item, "__getitem__": operator.getitem,
    "__contains__": lambda values, v: v in values, "index": lambda v, x: v.index(x), "keys": list,
    "items": lambda d: list(d.items()), "values": lambda d: list(d.values()), "get": lambda d, k, other=None: d.get(k, other),
    "format": _format, "lower": lambda s: s.lower(), "startswith": lambda s, p: s.startswith(p),
    "endswith": lambda s, p: s.endswith(p),
}  # fmt: skip
# What these do to their first argument looks at none of its items; what these take second is a key.
_MOVING = frozenset(CONTAINERS) - {"__contains__", "index", "format"}
_KEYED = frozenset({"_set_item", "__getitem__", "get"})
# Of numbers, and of lists of them.
ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{n: getattr(operator, n) for n in ("add", "sub", "mul", "floordiv", "mod", "neg", "lt", "le", "gt", "ge", "pow")},
    "rsub": lambda a, b: b - a, "div": _div, "floor_divide": operator.floordiv, "remainder": operator.mod, "fmod": math.fmod,
    "eq": _equal, "ne": lambda a, b: not _equal(a, b), "__and__": operator.and_, "__or__": operator.or_,
    "__xor__": operator.xor, "__not__": operator.not_, "__lshift__": operator.lshift, "__rshift__": operator.rshift,
    "str": _text, "sum": sum, "any": any, "all": all, "ceil": math.ceil, "floor": math.floor, "round": round,
    "sqrt": torch.sym_sqrt, "log": math.log, "log2": math.log2, "exp": math.exp, "abs": abs, "sin": math.sin, "cos": math.cos,
    "Int": int, "Float": float, "Bool": bool, "IntImplicit": _same, "FloatImplicit": _same, "ScalarImplicit": _same,
    "Scalar": _same, "isinf": math.isinf, "isnan": math.isnan, "max": lambda *v: max(*v), "min": lambda *v: min(*v),
}  # fmt: skip
# Of anything; what they return is no tensor.
ASKED: dict[str, Callable[..., Any]] = {
    "size": lambda t, d=None: list(t.shape) if d is None else t.shape[d],
    "stride": lambda t, d=None: list(t.stride()) if d is None else t.stride(d),
    **{n: operator.methodcaller(n) for n in ("dim", "numel", "is_floating_point", "is_complex", "is_contiguous")},
    "len": len, "__is__": operator.is_, "__isnot__": operator.is_not, "warn": lambda *a, **k: None,
    "is_autocast_enabled": lambda *a: False, "is_autocast_cpu_enabled": lambda *a: False,
    "is_grad_enabled": torch.is_grad_enabled, "device": lambda *a: torch.device("cpu"),
}  # fmt: skip


def _raise(message: Any, kind: Any = "", *_: Any) -> None:
    raise ScriptError(_text(message)[:300] or _text(kind)[:80])


PRIM: dict[str, Callable[..., Any]] = {
    "NumToTensor": _same, "ImplicitTensorToNum": _same, "unchecked_unwrap_optional": _same,
    "unchecked_cast": _same, "data": _same, "device": lambda t: t.device, "dtype": lambda t: t.dtype,
    "layout": lambda t: 0, "is_cuda": lambda t: False, "is_cpu": lambda t: True, "requires_grad": lambda t: t.requires_grad,
    "type": lambda device: device.type, "shape": lambda t: list(t.shape), "RaiseException": _raise, "abs": abs, "itemsize": lambda t: t.element_size(),
    "min": lambda *v: min(*v), "max": lambda *v: max(*v), "is_quantized": lambda t: False, "is_sparse": lambda t: False,
    "is_nested": lambda t: False, "is_meta": lambda t: False, "is_mkldnn": lambda t: False,
}  # fmt: skip


def _to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """``Tensor.to``, the method, which the capture listens to. A device changes nothing: all lies on one machine."""
    other = next((a for a in args if isinstance(a, torch.Tensor)), None)
    told = kwargs.get("dtype", next((a for a in args if type(a) is int or isinstance(a, torch.dtype)), None))
    dtype = other.dtype if other is not None else _dtype_or(told)
    result: torch.Tensor = tensor if dtype is None else tensor.to(dtype)
    return result


def _tensor(value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A number stays one where it was a size; ``torch.tensor`` is no operator of the dispatcher."""
    return torch.tensor(value, dtype=_dtype_or(dtype))


# As PyTorch's own modules call them: the capture keeps these whole where modules look them up.
_AS_MODULES_DO: dict[str, Callable[..., Any]] = {
    "to": _to, "tensor": _tensor, "_convolution": lambda *args: torch.convolution(*args[:9]),
    "linear": lambda *a, **k: torch.nn.functional.linear(*a, **k),
    "scaled_dot_product_attention": lambda *a, **k: torch.nn.functional.scaled_dot_product_attention(*a, **k),
    "rms_norm": lambda *a, **k: torch.rms_norm(*a, **k), "dropout": lambda *a: torch._VF.dropout(*a),
    "lstm": lambda *a: torch._VF.lstm(*a), "gru": lambda *a: torch._VF.gru(*a),
    "rnn_tanh": lambda *a: torch._VF.rnn_tanh(*a), "rnn_relu": lambda *a: torch._VF.rnn_relu(*a),
    "type_as": lambda a, b: a.type_as(b),
}  # fmt: skip
_LISTING = frozenset({"unbind", "chunk", "unsafe_chunk", "split", "unsafe_split", "split_with_sizes", "tensor_split",
                      "hsplit", "vsplit", "dsplit", "meshgrid"})  # fmt: skip


def called(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], where: str) -> Any:
    """The result of ``torch.NAME(…)`` as TorchScript writes it.

    Raises:
        Unsupported: for names that are no operator of ATen.
        BadFile: for numbers and lists that grow beyond sizes.
        Exception: whatever the operator raises on arguments that do not fit.
    """
    args = [constant(a, any(isinstance(b, torch.Tensor) for b in args)) for a in args]
    first = args[0] if args else None
    weighed(
        [a for i, a in enumerate(args) if i or name not in _MOVING] if name in CONTAINERS else [*args, *kwargs.values()]
    )
    if name in _KEYED and len(args) > 1 and isinstance(args[1], NESTING):
        raise ScriptError("a list for a key")
    for table, applies in (
        (CONTAINERS, isinstance(first, (*NESTING, str))),
        (ASKED, True),
        (ARITHMETIC, not any(_holds_tensor(a) for a in args)),
    ):
        if applies and name in table:
            return _bounded(table[name](*_small(name, args), **kwargs), where)
    if name in _AS_MODULES_DO:
        return _AS_MODULES_DO[name](*args, **kwargs)
    return _operator(name, args, kwargs, where)


def weighed(values: Sequence[Any]) -> None:
    """Refuse lists that hold more than any program's: comparing, hashing or printing those that hold each other never ends."""
    left, stack = MOST_ITEMS, [v for v in values if isinstance(v, NESTING)]
    while stack:
        value = stack.pop()
        left -= len(value)
        if left < 0:
            raise ScriptError(f"a list of more than {MOST_ITEMS:,} items")
        stack += [v for v in (value.values() if isinstance(value, dict) else value) if isinstance(v, NESTING)]


def constant(value: Any, beside_tensor: bool = False) -> Any:
    """A number of the file: a number among numbers, a tensor among tensors."""
    if not isinstance(value, TensorRecord):
        return value
    if not beside_tensor:
        return value.number
    return torch.tensor(value.number, dtype=getattr(torch, value.dtype)).reshape(value.shape)


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or (
        isinstance(value, NESTING)
        and any(isinstance(v, torch.Tensor) for v in (value.values() if isinstance(value, dict) else value))
    )


def _small(name: str, args: Sequence[Any]) -> Sequence[Any]:
    """Arguments of arithmetic whose result has a usual size."""
    if name in ("mul", "pow", "__lshift__") and len(args) == 2:
        a, b = args
        lists = [v for v in args if isinstance(v, (list, tuple, str))]
        if lists:
            times = b if lists[0] is a else a
            if isinstance(times, int) and len(lists[0]) * max(times, 0) > MOST_ITEMS:
                raise ScriptError(f"a list of {len(lists[0]) * times:,} items")
        elif name != "mul" and type(a) is int and type(b) is int and abs(b) > _MOST_BITS:
            raise ScriptError(f"a number to the power of {b:,}")
    return args


def _bounded(value: Any, where: str) -> Any:
    if type(value) is int and value.bit_length() > _MOST_BITS:
        raise BadFile(f"{where}: a number of {value.bit_length()} bits", expected="sizes of tensors")
    if isinstance(value, (list, str, dict)) and len(value) > MOST_ITEMS:
        raise BadFile(f"{where}: a list of {len(value):,} items", expected=f"at most {MOST_ITEMS:,}")
    return value


def _operator(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], where: str) -> Any:
    if name == "to_mkldnn":
        raise Unsupported(
            f"{where} is packed for one processor",
            expected="a module as it was before torch.jit.optimize_for_inference",
        )
    packet = getattr(torch.ops.aten, name, None) if name.isidentifier() and name not in FORBIDDEN else None
    known: list[Any] = []
    if isinstance(packet, torch._ops.OpOverloadPacket):
        known = [o for o in (getattr(packet, n) for n in packet.overloads()) if _dispatched(o)]
    if packet is None or not known:
        raise unknown(f"torch.{name}", where)
    schemas = [o._schema.arguments for o in known]
    args = [_typed(a, [s[i].name for s in schemas if i < len(s)]) for i, a in enumerate(args)]
    named = {k: _typed(v, [k]) for k, v in kwargs.items() if k != "layout"}
    if name in _LISTING:
        _pieces(name, args, where)
    return packet(*args, **named)


def unknown(name: str, where: str) -> Unsupported:
    """That a program calls what is no operator of ATen."""
    return Unsupported(
        f"{where} calls {name[:80]}", expected="operators of ATen", hint="explain the live module (file.py:factory)"
    )


def _dispatched(overload: Any) -> bool:
    schema = overload._schema
    full = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
    return bool(torch._C._dispatch_has_kernel(full))


def _typed(value: Any, names: Sequence[str]) -> Any:
    """TorchScript's numbers for dtypes and memory formats, and its devices, as the operators' Python side takes them."""
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type not in ("cpu", "meta") else value
    if type(value) is int and "dtype" in names:
        return _dtype_or(value)
    if type(value) is int and "memory_format" in names and 0 <= value < len(_FORMATS):
        return _FORMATS[value]
    return value


def _pieces(name: str, args: Sequence[Any], where: str) -> None:
    """Refuse to make more tensors than a program would."""
    tensor = args[0]
    if not isinstance(tensor, torch.Tensor) or not tensor.dim():
        return
    place = 1 if name == "unbind" else 2  # of the dimension among the arguments
    along = args[place] if len(args) > place else 0
    size = tensor.shape[along] if type(along) is int and -tensor.dim() <= along < tensor.dim() else 0
    each = args[1] if name.endswith("split") and len(args) > 1 and type(args[1]) is int else 1
    count = args[1] if "chunk" in name and len(args) > 1 else size // max(each, 1) if type(size) is int else 0
    if type(count) is int and count > MOST_ITEMS:
        raise BadFile(f"{where}: {name} into {count:,} tensors", expected=f"at most {MOST_ITEMS:,}")
