"""An ops file's text → its graph: bounded, checked field by field, then built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from ..._foundation.errors import BadFile, nearest
from ..._foundation.files import MAX_DEPTH, parse_json, parse_yaml, read_text
from ...graph.grammar import GrammarError
from ...graph.ir import Graph
from .build import FieldError, build
from .lines import bad_field, parsed
from .spec import (
    MOST_BYTES,
    MOST_NODES,
    MOST_OPS,
    SCHEMA_VERSION,
    BlockSpec,
    ItemsSpec,
    MessageSpec,
    OperandSpec,
    OpListSpec,
    OpSpec,
    SymbolSpec,
    TensorSpec,
    WorkSpec,
)


def load_op_list(source: str, dtype: str | None = None) -> Graph:
    """The graph of the file at a path."""
    return parse_op_list(read_text(source, "ops", limit=MOST_BYTES), source, dtype)


def parse_op_list(text: str, where: str = "ops file", dtype: str | None = None) -> Graph:
    """The graph of a file's text.

    Raises:
        BadFile: naming the line and the field.
    """
    data = parse_json(text, where) if text.lstrip().startswith("{") else parse_yaml(text, where)
    if not isinstance(data, dict):
        raise BadFile(f"{where} holds a {type(data).__name__}", expected="a mapping with schema and ops")
    _refuse_large(data, where)
    version = data.get("schema")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise BadFile(f"{where}: schema is {version!r}", expected=f"schema: {SCHEMA_VERSION}")
    try:
        spec = msgspec.convert(data, OpListSpec)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise bad_field(
            where, text, parsed(place.rstrip("`")), message, "the fields of docs/ops-files.md", _hint(message)
        ) from None
    except (OverflowError, RecursionError) as error:
        raise BadFile(f"{where} holds a value out of range: {error}", expected="ordinary numbers") from None
    count = len(spec.ops) + sum(len(b.ops) for b in spec.blocks)
    if bool(spec.ops) == bool(spec.blocks) or not count:
        raise BadFile(f"{where} lists {'ops and blocks' if spec.ops else 'no ops'}", expected="ops, or blocks of ops")
    if count > MOST_OPS:
        raise BadFile(
            f"{where} lists {count} ops", expected=f"at most {MOST_OPS}", hint="fold equal ones: blocks have a count"
        )
    try:
        return build(spec, Path(where).stem, dtype)
    except FieldError as error:
        raise bad_field(where, text, error.path, error.message, error.expected, error.hint) from None
    except GrammarError as error:
        said = str(error).splitlines()[1:2]
        raise BadFile(
            f"{where}: {said[0].strip() if said else error}", expected="ops that read what was written before"
        ) from None


def _refuse_large(data: Any, where: str) -> None:
    """Count what there is to look at, aliases as often as they are used: a small file can stand for a huge one."""
    left = MOST_NODES
    stack: list[tuple[Any, int]] = [(data, 1)]
    while stack:
        node, depth = stack.pop()
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        left -= 1 + len(children)
        if depth > MAX_DEPTH:
            raise BadFile(f"{where} is nested deeper than {MAX_DEPTH} levels", expected="a flatter document")
        if left < 0:
            raise BadFile(
                f"{where} holds more than {MOST_NODES} values",
                expected="a shorter list",
                hint="fold equal ops: blocks have a count",
            )
        stack.extend((child, depth + 1) for child in children)


def _hint(message: str) -> str:
    """The nearest field for a misspelt one."""
    unknown = re.search(r"unknown field `(.*?)`", message)
    specs = (OpListSpec, BlockSpec, OpSpec, OperandSpec, WorkSpec, TensorSpec, SymbolSpec, MessageSpec, ItemsSpec)
    near = nearest(unknown[1], {f for s in specs for f in s.__struct_encode_fields__}) if unknown else []
    return f"did you mean {' or '.join(near)}?" if near else ""
