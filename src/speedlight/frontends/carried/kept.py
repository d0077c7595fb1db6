"""Graphs captured on this machine, kept for the next time: one small file each in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
from functools import lru_cache
from pathlib import Path

from ..._foundation.errors import SpeedlightError
from ..._foundation.files import parse_json, write_atomically
from ..._foundation.version import VERSION
from ...graph.ir import Graph
from ...graph.plain import from_plain, to_plain
from .archive import LARGEST_CHUNK, unpacked


def cache_folder() -> Path:
    """``SPEEDLIGHT_CACHE``, else ``speedlight`` below the user's cache folder."""
    given = os.environ.get("SPEEDLIGHT_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "speedlight"


@lru_cache(maxsize=1)
def _capturing() -> str:
    """What the code that captures looks like: other code may see other graphs."""
    digest = hashlib.sha256(VERSION.encode())
    for path in sorted((Path(__file__).parents[1] / "torch_export").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _file(key: str) -> Path:
    digest = hashlib.sha256(f"{_capturing()} {key}".encode()).hexdigest()[:24]
    return cache_folder() / "graphs" / f"{key.split()[0]}-{digest}.json.xz"


def kept_graph(key: str) -> Graph | None:
    """The graph kept under a key by this very code; None without one, or where the file is damaged."""
    path = _file(key)
    try:
        return from_plain(parse_json(unpacked(path.read_bytes(), LARGEST_CHUNK, path).decode(), str(path)))
    except (OSError, UnicodeDecodeError, SpeedlightError):
        return None


def keep_graph(key: str, graph: Graph) -> None:
    """Keep a graph; a folder that cannot be written is no error."""
    path = _file(key)
    data = lzma.compress(json.dumps(to_plain(graph), separators=(",", ":")).encode(), preset=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except (OSError, SpeedlightError):
        pass
