"""JSON answers: one object on stdout, or a whole file or none."""

from __future__ import annotations

import json
import sys
from typing import Any

from .._foundation.files import write_atomically
from .._foundation.version import VERSION


def emit_json(data: Any, target: str) -> None:
    """Write one JSON object to stdout (``-``) or, atomically, to a file."""
    text = json.dumps(data, indent=None if target == "-" else 1, allow_nan=False)
    if target == "-":
        print(text)
    else:
        write_atomically(target, text + "\n")


def show(renderable: Any, width: int = 110) -> None:
    """Print for a person; ``width`` columns where stdout is no terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else width).print(renderable)


def answered(data: dict[str, Any], json_to: str | None) -> bool:
    """Emit JSON where asked; whether a person still wants to read the answer."""
    if json_to is not None:
        emit_json({"schema": 1, "speedlight": VERSION, **data}, json_to)
    return json_to != "-"
