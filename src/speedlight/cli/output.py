"""JSON answers: one object on stdout, or a whole file or none."""

from __future__ import annotations

import json
from typing import Any

from .._foundation.files import write_atomically


def emit_json(data: Any, target: str) -> None:
    """Write one JSON object to stdout (``-``) or, atomically, to a file."""
    text = json.dumps(data, indent=None if target == "-" else 1, allow_nan=False)
    if target == "-":
        print(text)
    else:
        write_atomically(target, text + "\n")
