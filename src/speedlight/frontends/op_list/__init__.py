"""Ops files: any list of ops with its work, span and operands, as YAML or JSON (docs/ops-files.md).

A file that lists ``ops`` or ``blocks`` is one; a file that lists ``programs`` is a scenario. What reads a file is imported when
one is read: every ``explain`` asks whether its model is such a file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..._foundation.errors import BadFile
from ..._foundation.files import parse_json, read_text

if TYPE_CHECKING:
    from ...graph.ir import Graph

SUFFIXES = (".yaml", ".yml", ".json")
_KEYS = re.compile(r"""^["']?(?:ops|blocks)["']?\s*:""", re.MULTILINE)
_PROGRAMS = re.compile(r"""^["']?programs["']?\s*:""", re.MULTILINE)


def is_op_list(source: str) -> bool:
    """Whether a source names a file that lists ops, or is such a list as JSON: told by its top-level keys, not by its name."""
    if source.lstrip().startswith("{"):
        return _lists_ops(source)
    path = Path(source)
    if path.suffix not in SUFFIXES or not path.is_file():
        return False
    try:
        text = read_text(path, "ops", limit=16 * 2**20)
    except BadFile:
        return False
    if text.lstrip().startswith("{"):
        return '"schema"' in text and ('"ops"' in text or '"blocks"' in text) and _lists_ops(text)
    return bool(_KEYS.search(text)) and not _PROGRAMS.search(text)


def _lists_ops(text: str) -> bool:
    try:
        data = parse_json(text, "")
    except BadFile:
        return False
    return (
        isinstance(data, dict) and "schema" in data and bool({"ops", "blocks"} & set(data)) and "programs" not in data
    )


def load_op_list(source: str, dtype: str | None = None) -> Graph:
    """The graph of an ops file.

    Args:
        source: path of the file, or its content as JSON.
        dtype: stands in for the file's own ``dtype``.

    Raises:
        BadFile: naming the line and the field.
    """
    from . import read

    if source.lstrip().startswith("{"):
        return read.parse_op_list(source, "ops", dtype)
    return read.load_op_list(source, dtype)


def parse_op_list(text: str, where: str = "ops file", dtype: str | None = None) -> Graph:
    """The graph of an ops file's text; see :func:`load_op_list`."""
    from . import read

    return read.parse_op_list(text, where, dtype)
