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
from typing import Any, TypeVar, get_type_hints

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function, compiled when it is defined (from disk where it was before); unchanged without numba or with ``SPEEDLIGHT_NO_NUMBA`` set."""
    numba = _numba()
    if numba is None:
        return function
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _folder()
    try:
        made: F = numba.njit(_signature(function), cache=True, error_model="numpy")(function)
        return made
    finally:
        numba.config.CACHE_DIR = before


def _signature(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Types of the arguments from their annotations; left to itself numba compiles anew for every constant that is handed in."""
    numba = _numba()
    plain = {int: numba.int64, float: numba.float64, bool: numba.boolean, np.ndarray: numba.float64[::1]}
    hints = get_type_hints(function)
    hints.pop("return", None)
    return tuple(plain[kind] if kind in plain else _record(kind) for kind in hints.values())


def _record(kind: Any) -> Any:
    """A named tuple of arrays, whose ``kinds`` say number and axes of each."""
    numba = _numba()
    arrays = [numba.types.Array(getattr(numba, number), axes, "C") for number, axes in kind.kinds().values()]
    return numba.types.NamedTuple(arrays, kind)


def is_compiled() -> bool:
    """Whether the loop runs as machine code."""
    return _numba() is not None


def to_compile() -> bool:
    """Whether the first run will have to compile (half a minute), because nothing of this version lies on disk yet."""
    return is_compiled() and not any(Path(_folder()).rglob("run.run-*.nbi"))


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
