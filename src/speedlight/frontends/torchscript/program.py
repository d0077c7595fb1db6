"""The code of an archive → its classes and functions, as syntax trees. TorchScript's printed form is a part of Python's syntax."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..._foundation.errors import BadFile

MOST_WORDS = 1_000_000
_WORD = re.compile(r"\w+|[^\w\s]")
_ALLOWED = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.keyword, ast.Assign, ast.AnnAssign, ast.Expr,
    ast.Return, ast.If, ast.For, ast.While, ast.Pass, ast.Name, ast.Attribute, ast.Call, ast.Constant, ast.List, ast.Tuple,
    ast.Dict, ast.Subscript, ast.UnaryOp, ast.USub, ast.Load, ast.Store,
)  # fmt: skip


@dataclass(frozen=True)
class Class:
    """A class of the program.

    Attributes:
        base: ``Module``, ``NamedTuple``, ``Enum`` or nothing.
        methods: by name.
        fields: names of its attributes, in order.
        parameters: which of a module's attributes are those.
        members: values of an enumeration by name.
    """

    name: str
    base: str
    methods: Mapping[str, ast.FunctionDef]
    fields: tuple[str, ...]
    parameters: tuple[str, ...]
    members: Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """Classes and functions by qualified name (``__torch__.torch.nn.functional.relu``)."""

    classes: Mapping[str, Class]
    functions: Mapping[str, ast.FunctionDef]


def parse_program(code: Mapping[str, str], where: str) -> Program:
    """Parse every source file.

    Raises:
        BadFile: for text that is no TorchScript.
    """
    classes: dict[str, Class] = {}
    functions: dict[str, ast.FunctionDef] = {}
    left = MOST_WORDS
    for place, text in code.items():
        # Counted before it is parsed, which takes seven times as long a word.
        left -= sum(1 for _ in islice(_WORD.finditer(text), left + 1))
        if left < 0:
            raise _not_as_saved(where, place, f"more than {MOST_WORDS:,} words")
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            what = type(error).__name__ if not isinstance(error, SyntaxError) else f"line {error.lineno}: {error.msg}"
            raise BadFile(
                f"{where}: its code in {place[:80]} cannot be parsed: {what}", expected="TorchScript"
            ) from None
        for node in ast.walk(tree):
            if not isinstance(node, _ALLOWED):
                raise _not_as_saved(where, place, type(node).__name__)
        for part in tree.body:
            if isinstance(part, ast.FunctionDef):
                functions[f"{place}.{part.name}"] = part
            elif isinstance(part, ast.ClassDef):
                classes[f"{place}.{part.name}"] = _class(f"{place}.{part.name}", part)
    return Program(classes, functions)


def _not_as_saved(where: str, place: str, what: str) -> BadFile:
    return BadFile(f"{where}: its code in {place[:80]} has {what}", expected="TorchScript as torch.jit.save writes it")


def _class(name: str, node: ast.ClassDef) -> Class:
    base = node.bases[0].id if node.bases and isinstance(node.bases[0], ast.Name) else ""
    methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    fields = tuple(
        part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    )
    stated = {
        part.targets[0].id: part.value
        for part in node.body if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)
    }  # fmt: skip
    listed = stated.get("__parameters__")
    parameters = [e.value for e in listed.elts if isinstance(e, ast.Constant)] if isinstance(listed, ast.List) else []
    members = {k: v.value for k, v in stated.items() if isinstance(v, ast.Constant)} if base == "Enum" else {}
    return Class(name, base, methods, fields, tuple(map(str, parameters)), members)
