"""The ops file: YAML or JSON that people write, validated field by field.

A file holds either ``ops`` (one list) or ``blocks`` (lists that stand for ``count`` equal repetitions), the ``tensors``
that exist once, and the ``symbols`` its expressions are written over. Every size is a number or an expression
(:func:`speedlight._foundation.expr_text.parse_expr`); nothing in a file is executed. ``json_schema()`` publishes the format.
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA_VERSION = 1
MOST_BYTES = 4 * 2**20
MOST_OPS = 20_000
MOST_NODES = 500_000  # scalars and containers of a file, aliases counted as often as they are used

Size = int | float | str


class SymbolSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A named number; without ``value`` a range from ``low`` to ``high``, or, without one, a number the question must give."""

    value: Size | None = None
    low: Size | None = None
    high: Size | None = None
    about: str = ""
    source: str = ""


class TensorSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A tensor that is declared; ``elements`` or ``bytes``.

    ``class`` is one of :data:`speedlight.graph.ir.TENSOR_CLASSES`; ``home`` is ``main`` or ``host``, or shares of each.
    """

    elements: Size | None = None
    bytes: Size | None = None
    dtype: str | None = None
    cls: str = msgspec.field(default="activation", name="class")
    home: str | dict[str, float] = "main"


class OperandSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One use of a tensor; without ``elements`` or ``bytes`` all of it. ``granule``: contiguous elements of an access."""

    tensor: str
    elements: Size | None = None
    bytes: Size | None = None
    access: str = "streamed"
    granule: Size | None = None
    path: str = "copied"
    reuse: Size = 1
    dtype: str | None = None


class WorkSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """FLOPs of one unit and number format; a multiply-add is 2. ``dense``: the unmasked convention where it differs."""

    flops: Size
    unit: str = "vector"
    format: str | None = None
    dense: Size | None = None


class MessageSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A transfer between ``ranks`` equal devices; ``bytes`` are the payload of one of them."""

    collective: str
    ranks: Size
    bytes: Size


class OpSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One op by its work and operands, or a ``template`` with its arguments under ``with``."""

    name: str
    template: str | None = None
    arguments: dict[str, Any] = msgspec.field(default_factory=dict, name="with")
    kind: str = "other"
    work: list[WorkSpec] = []
    reads: list[str | OperandSpec] = []
    writes: list[str | OperandSpec] = []
    message: MessageSpec | None = None
    dims: dict[str, Size] = {}
    span: Size = 1
    count: Size = 1


class BlockSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``count`` equal repetitions of a list of ops; its ``tensors`` exist once in each."""

    name: str
    ops: list[OpSpec]
    count: Size = 1
    tensors: dict[str, TensorSpec] = {}


class ItemsSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a call gets done, for the throughput: ``count`` of ``unit`` (``queries``)."""

    unit: str
    count: str


class OpListSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The file."""

    schema: int
    name: str | None = None
    about: str = ""
    dtype: str = "fp32"
    symbols: dict[str, Size | SymbolSpec] = {}
    tensors: dict[str, TensorSpec] = {}
    ops: list[OpSpec] = []
    blocks: list[BlockSpec] = []
    items: ItemsSpec | None = None


def json_schema() -> dict[str, Any]:
    """JSON schema of an ops file."""
    return msgspec.json.schema(OpListSpec)
