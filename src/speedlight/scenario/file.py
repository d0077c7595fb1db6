"""The scenario file: one versioned YAML or JSON document, and its stable hash.

Fields are those of the records in :mod:`.scenario`; what equals its default may be left out, arrays are lists, and
unknown fields are refused by name. Plans, sweeps, URLs and claims replay from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from .._foundation.errors import BadFile, BadInput
from .._foundation.files import parse_json, parse_yaml, read_text, write_atomically
from .scenario import Scenario

SCHEMA_VERSION = 1


def to_plain(record: Any) -> Any:
    """Frozen records → JSON-able data, fields equal to their default left out."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        plain = {}
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if not _is_default(field, value):
                plain[field.name] = to_plain(value)
        return plain
    if isinstance(record, Mapping):
        return {str(k): to_plain(v) for k, v in record.items()}
    if isinstance(record, (tuple, list)):
        return [to_plain(v) for v in record]
    if isinstance(record, np.ndarray):
        return record.tolist()
    if isinstance(record, np.generic):
        return record.item()
    return record


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        return False
    if isinstance(value, np.ndarray):
        return False
    if isinstance(value, Mapping):
        return bool(dict(value) == default)
    try:
        return bool(value == default) and type(value) is type(default)
    except ValueError:  # records that hold arrays
        return False


def from_plain(data: Any, kind: Any, where: str) -> Any:
    """Data → a record of type ``kind``; raises BadFile with the path of what does not fit."""
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(data, Mapping):
            raise BadFile(f"{where} is a {type(data).__name__}", expected="a mapping")
        hints = get_type_hints(kind)
        fields = {f.name: f for f in dataclasses.fields(kind)}
        unknown = sorted(set(map(str, data)) - set(fields))
        if unknown:
            raise BadFile(f"{where} has the unknown field {unknown[0]!r}", expected="one of " + ", ".join(fields))
        values = {k: from_plain(v, hints[k], f"{where}.{k}") for k, v in data.items()}
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in values:
                raise BadFile(f"{where} lacks the field {name!r}")
        try:
            return kind(**values)  # type: ignore[operator]
        except BadInput as error:
            raise BadFile(f"{where}: {error.message}", expected=error.expected, hint=error.hint) from None
    if kind is Any:
        return _value(data, where)
    if origin in (Union, types.UnionType):
        options = get_args(kind)
        if data is None and type(None) in options:
            return None
        inner = [o for o in options if o is not type(None)]
        return from_plain(data, inner[0], where)
    if origin is tuple:
        args = get_args(kind)
        if not isinstance(data, (list, tuple)):
            raise BadFile(f"{where} is a {type(data).__name__}", expected="a list")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(from_plain(v, args[0], f"{where}[{i}]") for i, v in enumerate(data))
        if len(data) != len(args):
            raise BadFile(f"{where} has {len(data)} entries", expected=str(len(args)))
        return tuple(from_plain(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(data, args, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise BadFile(f"{where} is a {type(data).__name__}", expected="a mapping")
        read = _content if get_args(kind)[1] is object else _value
        return {str(k): read(v, f"{where}.{k}") for k, v in data.items()}
    if kind is str and not isinstance(data, str):
        raise BadFile(f"{where} is {data!r}", expected="text")
    return data


def _value(data: Any, where: str) -> Any:
    """A number, text, or a (nested) list of numbers, which becomes an array."""
    if isinstance(data, bool) or data is None or isinstance(data, (str, int)):
        return data
    if isinstance(data, float):
        if not math.isfinite(data):
            raise BadFile(f"{where} is {data}", expected="a finite number")
        return data
    if isinstance(data, list):
        try:
            array = np.asarray(data, dtype=float)
        except (ValueError, TypeError):
            raise BadFile(f"{where} is no list of numbers", expected="numbers of one rectangular shape") from None
        if not np.all(np.isfinite(array)):
            raise BadFile(f"{where} holds a number that is not finite")
        return array
    raise BadFile(f"{where} is a {type(data).__name__}", expected="a number or a list of numbers")


def _content(data: Any, where: str) -> Any:
    """Plain data that another room reads (a stack file's words), taken as it is."""
    if isinstance(data, Mapping):
        return {str(k): _content(v, f"{where}.{k}") for k, v in data.items()}
    if isinstance(data, list):
        return [_content(v, f"{where}[{i}]") for i, v in enumerate(data)]
    if data is None or isinstance(data, (str, int, float)):
        return data
    raise BadFile(f"{where} is a {type(data).__name__}", expected="text, numbers, lists and mappings")


def dumps(scenario: Scenario) -> str:
    """The scenario as YAML."""
    import yaml

    return str(yaml.safe_dump({"schema": SCHEMA_VERSION, **to_plain(scenario)}, sort_keys=False, allow_unicode=True))


def loads(text: str, where: str = "scenario") -> Scenario:
    """Read YAML or JSON text."""
    data = parse_json(text, where) if text.lstrip().startswith("{") else parse_yaml(text, where)
    if not isinstance(data, dict):
        raise BadFile(f"{where} holds a {type(data).__name__}", expected="a mapping describing a scenario")
    version = data.pop("schema", None)
    if version != SCHEMA_VERSION:
        raise BadFile(f"{where}: schema is {version!r}", expected=f"schema: {SCHEMA_VERSION}")
    result = from_plain(data, Scenario, where)
    assert isinstance(result, Scenario)
    if not result.programs:
        raise BadFile(f"{where} lists no program", expected="at least one under programs:")
    return result


def save(scenario: Scenario, path: str | Path) -> None:
    write_atomically(path, dumps(scenario))


def load(path: str | Path) -> Scenario:
    return loads(read_text(path, "scenario", limit=16 * 2**20), str(path))


def scenario_hash(scenario: Scenario) -> str:
    """Twelve hex digits that equal scenarios share, whatever order or spelling their files have."""
    text = json.dumps({"schema": SCHEMA_VERSION, **to_plain(scenario)}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
