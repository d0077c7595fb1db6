"""The JSON of an exported program, as far as work and shapes need it (PyTorch ``torch/_export/serde/schema.py``, version 8).

Read by typed records: what is no field of ours is skipped without being built. Symbolic expressions stay text; PyTorch's
own loader would evaluate them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..._foundation.errors import BadFile, Unsupported

MOST_CALLS = 60_000
MOST_VALUES = 200_000
Argument = dict[str, Any]  # {"as_tensor": {"name": …}} and so on: one key
_SYMBOL = re.compile(r"^(?:Symbol\('(\w+)'(?:, \w+=\w+)*\)|([A-Za-z_]\w*))$")


class Meta(msgspec.Struct):
    """A tensor's type: PyTorch's number of its dtype, sizes and strides as ``{"as_int": …}`` or ``{"as_expr": …}``."""

    dtype: int
    sizes: list[dict[str, Any]]
    requires_grad: bool = False
    strides: list[dict[str, Any]] = []
    storage_offset: dict[str, Any] = {}


class Where(msgspec.Struct):
    """Which modules a call was made in, outermost first: ``key,path,type`` joined by ``;``."""

    nn_module_stack: str = ""


class Named(msgspec.Struct):
    name: str
    arg: Argument


class Node(msgspec.Struct):
    target: str
    inputs: list[Named]
    outputs: list[Argument]
    metadata: Where = msgspec.field(default_factory=Where)


class Code(msgspec.Struct):
    """A graph; ``tensor_values`` holds the type of every tensor in it by name."""

    inputs: list[Argument]
    outputs: list[Argument]
    nodes: list[Node]
    tensor_values: dict[str, Meta] = {}


class Signature(msgspec.Struct):
    input_specs: list[dict[str, Any]]
    output_specs: list[dict[str, Any]]


class GraphModule(msgspec.Struct):
    graph: Code
    signature: Signature


class Version(msgspec.Struct):
    major: int
    minor: int = 0


class Program(msgspec.Struct):
    graph_module: GraphModule
    schema_version: Version | None = None
    torch_version: str = ""


class Payload(msgspec.Struct):
    """Where a weight's bytes lie; equal places are one weight under several names."""

    path_name: str | None = None
    tensor_meta: Meta | None = None


class Weights(msgspec.Struct):
    config: dict[str, Payload] = {}


def read_program(data: bytes, where: str) -> Program:
    """The program.

    Raises:
        BadFile: for JSON that is broken, too deep or no program.
        Unsupported: for a major version this reader does not know, and for larger graphs than any model has.
    """
    calls = data.count(b'"target"')
    if calls > MOST_CALLS or data.count(b'"requires_grad"') > MOST_VALUES:
        raise Unsupported(f"{where} holds a graph of {calls:,} calls", expected=f"at most {MOST_CALLS:,}")
    program: Program = _decoded(data, Program, where)
    version = program.schema_version
    if version is not None and not 5 <= version.major <= 8:
        raise Unsupported(
            f"{where} has the export schema {version.major}.{version.minor} ({program.torch_version or 'an old PyTorch'})",
            expected="major version 5 to 8 (PyTorch 2.3 and later)",
        )
    return program


def read_weights(data: bytes, where: str) -> Weights:
    weights: Weights = _decoded(data, Weights, where)
    return weights


def _decoded(data: bytes, kind: Any, where: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise BadFile(
            f"{where}: its program is nested too deeply", expected="JSON as torch.export.save writes it"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(
            f"{where}: its program cannot be read: {str(error)[:160]}", expected="JSON as torch.export.save writes it"
        ) from None


def one(argument: Argument, where: str) -> tuple[str, Any]:
    """(kind, value) of a union; older writers list every alternative, all but one of them null."""
    found = [(k, v) for k, v in argument.items() if v is not None] or list(argument.items())[:1]
    if len(found) != 1:
        raise BadFile(f"{where}: an argument of {len(found)} values", expected="one")
    return found[0]


def size_of(entry: dict[str, Any], where: str) -> tuple[int | None, str | None]:
    """(the size or its value while exporting, its symbol's name where it is one plain symbol)."""
    kind, value = one(entry, where)
    if kind == "as_int" and type(value) is int and 0 <= value < 2**48:
        return value, None
    if kind == "as_expr" and isinstance(value, dict):
        match = _SYMBOL.match(str(value.get("expr_str", ""))[:200])
        hint = value.get("hint")
        number = hint.get("as_int") if isinstance(hint, dict) else None
        good = type(number) is int and 0 <= number < 2**48
        return (number if good else None), (match[1] or match[2]) if match else None
    raise BadFile(f"{where}: a size {str(entry)[:60]}", expected="a whole number or an expression")
