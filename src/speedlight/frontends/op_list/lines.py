"""Where in a file a field stands: messages name its path and its line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..._foundation.errors import BadFile

Path = tuple[str | int, ...]


def bad_field(
    where: str, text: str, path: Sequence[str | int], message: str, expected: str = "", hint: str = ""
) -> BadFile:
    """The error for a field: ``work.yaml line 12, ops[3].reads[0].tensor: …``."""
    line = line_of(text, path)
    place = f"{where} line {line}, {spelled(path)}" if line else f"{where}, {spelled(path)}"
    return BadFile(f"{place}: {message}", expected=expected, hint=hint)


def spelled(path: Sequence[str | int]) -> str:
    """``("ops", 3, "reads", 0)`` → ``ops[3].reads[0]``."""
    parts = [f"[{p}]" if isinstance(p, int) else f".{p}" for p in path]
    return "".join(parts).lstrip(".") or "the file"


def parsed(path: str) -> Path:
    """msgspec's ``$.ops[3].reads[0].tensor`` as a path; parts it does not name (``[...]`` of a mapping) end it."""
    found: list[str | int] = []
    for name, index, _ in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])", path.removeprefix("$")):
        if not name and not index:
            break
        found.append(name if name else int(index))
    return tuple(found)


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line (from 1) where the field at the path begins, or the nearest field around it; None where nothing is known.

    Called after a failure only: it composes the document's node tree, which JSON shares with YAML.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    line: int | None = None
    for part in path:
        if isinstance(node, yaml.MappingNode) and isinstance(part, str):
            hit = next(((k, v) for k, v in node.value if getattr(k, "value", None) == part), None)
            if hit is None:
                return line
            line, node = hit[0].start_mark.line + 1, hit[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
