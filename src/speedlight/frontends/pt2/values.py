"""Arguments of an exported call → the values PyTorch's operators take. Imports torch."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..._foundation.errors import BadFile, Unsupported
from .schema import Argument, one

# ``ScalarType`` of the export schema.
DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool, 13: torch.bfloat16,
    28: torch.uint16, 29: torch.float8_e4m3fn, 30: torch.float8_e5m2, 31: torch.float8_e4m3fnuz, 34: torch.uint32,
    35: torch.uint64,
}  # fmt: skip
_MEMORY = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
_PLAIN: dict[str, tuple[type, ...]] = {
    "as_int": (int,), "as_float": (int, float, str), "as_bool": (bool,), "as_string": (str,),
}  # fmt: skip
_LISTS = {"as_ints": "as_int", "as_floats": "as_float", "as_bools": "as_bool", "as_strings": "as_string"}

# Arithmetic on sizes that exported graphs do: name → function. Nothing else outside of ATen is called.
ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{f"_operator.{n}": getattr(operator, n)
       for n in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_")},
    "torch.sym_max": torch.sym_max, "torch.sym_min": torch.sym_min, "torch.sym_not": torch.sym_not,
    "torch.sym_float": torch.sym_float, "torch.sym_int": torch.sym_int, "torch.sym_ite": torch.sym_ite,
    "math.ceil": math.ceil, "math.floor": math.floor, "math.trunc": math.trunc,
    "torch._sym_sqrt": torch.sym_sqrt if hasattr(torch, "sym_sqrt") else math.sqrt,
}  # fmt: skip
# Checks of the exporter's own; they compute nothing.
CHECKS = frozenset({
    "_assert_scalar", "_assert_tensor_metadata", "_assert_async", "sym_constrain_range", "sym_constrain_range_for_size",
    "_functional_assert_scalar", "_functional_assert_async",
})  # fmt: skip
FORBIDDEN = frozenset({"from_file"})  # opens files


def value_of(argument: Argument, known: Mapping[str, Any], where: str) -> Any:
    """The value of an argument, whose names are those of earlier results.

    Raises:
        BadFile: for a name nothing made, and values of another type than their kind says.
        Unsupported: for objects of the exporter's own classes.
    """
    kind, value = one(argument, where)
    if kind == "as_none":
        return None
    if kind in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool"):
        return _named(value, known, where)
    if kind in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools") and isinstance(value, list):
        return [_named(v, known, where) for v in value]
    if kind in _PLAIN:
        return _plain(kind, value, where)
    if kind in _LISTS and isinstance(value, list):
        return [_plain(_LISTS[kind], v, where) for v in value]
    if kind == "as_optional_tensor" and isinstance(value, dict):
        return value_of(value, known, where)
    if kind == "as_optional_tensors" and isinstance(value, list) and all(isinstance(v, dict) for v in value):
        return [value_of(v, known, where) for v in value]
    if kind == "as_scalar_type" and value in DTYPES:
        return DTYPES[value]
    if kind == "as_memory_format" and value in _MEMORY:
        return _MEMORY[value]
    if kind == "as_layout" and value == 7:
        return torch.strided
    if kind == "as_device":
        return torch.device("cpu")  # shapes are the same everywhere
    if kind == "as_complex" and isinstance(value, dict):
        return complex(_plain("as_float", value.get("real"), where), _plain("as_float", value.get("imag"), where))
    if kind in ("as_int_lists", "as_float_lists") and isinstance(value, list):
        each = _LISTS[kind.replace("_lists", "s")]
        return [[_plain(each, v, where) for v in inner] for inner in value if isinstance(inner, list)]
    raise Unsupported(
        f"{where}: arguments of the kind {kind[:40]!r}", expected="tensors, numbers, texts and lists of them"
    )


def _named(value: Any, known: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, dict):
        kind, name = next(iter(value.items()), ("", None))
        if kind in ("name", "as_name") and isinstance(name, str):
            if name not in known:
                raise BadFile(f"{where}: {name[:80]!r} is used before anything made it", expected="calls in order")
            return known[name]
        if kind in ("as_int", "as_float", "as_bool"):
            return _plain(kind, name, where)
    raise BadFile(f"{where}: {str(value)[:60]} names nothing", expected="a name")


def _plain(kind: str, value: Any, where: str) -> Any:
    good: bool = isinstance(value, _PLAIN[kind])
    if not good or (kind != "as_bool" and isinstance(value, bool)):
        raise BadFile(
            f"{where}: {str(value)[:40]!r} for {kind}", expected=" or ".join(t.__name__ for t in _PLAIN[kind])
        )
    if kind == "as_int" and not -(2**63) <= int(value) < 2**63:
        raise BadFile(f"{where}: a number of {int(value).bit_length()} bits", expected="64 bits")
    if kind == "as_float":
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise BadFile(f"{where}: {str(value)[:40]!r} for a number", expected="a number") from None
    return value


def operator_of(target: str, where: str) -> Any:
    """The ATen operator ``torch.ops.aten.NAME.OVERLOAD``.

    Raises:
        Unsupported: for any other name: a program's custom operators are code we do not have.
    """
    parts = target.split(".")
    if len(parts) == 5 and parts[:3] == ["torch", "ops", "aten"] and all(p.isidentifier() for p in parts[3:]):
        packet = getattr(torch.ops.aten, parts[3], None) if parts[3] not in FORBIDDEN else None
        found = getattr(packet, parts[4], None) if isinstance(packet, torch._ops.OpOverloadPacket) else None
        if isinstance(found, torch._ops.OpOverload):
            return found
    raise Unsupported(
        f"{where} calls {target[:80]!r}", expected="ATen operators (torch.ops.aten.…)",
        hint="export the model without custom operators, or explain the live module",
    )  # fmt: skip
