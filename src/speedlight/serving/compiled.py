"""One source for two speeds: numba compiles the event loop where it is installed, Python runs the same lines where not.

Compiled code is kept on disk. numba's own cache watches the file of a function and not those of the functions it calls, so
the folder of the cache is named by a digest of every file of the loop.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function, compiled when first called; unchanged without numba or with ``SPEEDLIGHT_NO_NUMBA`` set."""
    numba = _numba()
    if numba is None:
        return function
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _folder()
    try:
        return numba.njit(cache=True, error_model="numpy")(function)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


def is_compiled() -> bool:
    """Whether the loop runs as machine code."""
    return _numba() is not None


@lru_cache(maxsize=1)
def _numba() -> Any:
    if os.environ.get("SPEEDLIGHT_NO_NUMBA"):
        return None
    try:
        import numba
    except ImportError:
        return None
    return numba


@lru_cache(maxsize=1)
def _folder() -> str:
    """A folder of the user's cache named by what is compiled, by Python and by numba."""
    digest = hashlib.sha256(f"{sys.version} {_numba().__version__}".encode())
    for path in sorted((Path(__file__).parent / "loop").glob("*.py")):
        digest.update(path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "speedlight" / f"loop-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"speedlight-loop-{os.getuid()}-{digest.hexdigest()[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
