"""Exceptions of user code and of tracing → one sentence a person can act on."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator

from ..._foundation.errors import BadInput, SpeedlightError

# Exceptions by which PyTorch says "that depends on the values of tensors" (by name: they live in private modules).
_DATA = (
    "GuardOnDataDependentSymNode", "DataDependentOutputException", "DynamicOutputShapeException", "PendingUnbackedSymbolNotFound",
)  # fmt: skip
_DATA_WORDS = (
    "data-dependent", "data dependent", "cannot be called on meta tensors", "unbacked", "depends on the values of tensors",
    "non-meta tensor", "has no data", "to numpy", ".numpy() is not supported",
)  # fmt: skip


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def short(error: BaseException, most: int = 240) -> str:
    """``ValueError: first line of what it says``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if len(text) > most:
        text = text[: most - 1] + "…"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def place_of(error: BaseException) -> str:
    """`` at file.py:12 in forward (`if x.sum() > 0:`)`` of the deepest frame in the user's code, or nothing."""
    for each in chain(error):
        frames = [f for f in traceback.extract_tb(each.__traceback__) if _is_users(f.filename)]
        if frames:
            frame = frames[-1]
            line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            name = frame.filename.rsplit("/", 1)[-1]
            return f" at {name}:{frame.lineno} in {frame.name}" + (f" (`{line[:80]}`)" if line else "")
    return ""


def _is_users(filename: str) -> bool:
    path = filename.replace("\\", "/")
    inside = ("/torch/", "/speedlight/frontends/", "/importlib/", "/sympy/", "/contextlib.py", "/functools.py")
    return not path.startswith("<") and not any(part in path for part in inside)


def needs_data(error: BaseException) -> bool:
    """Did tracing stop because a branch, a size or a number depends on the values of tensors?"""
    for each in chain(error):
        text = str(each).lower()
        if type(each).__name__ in _DATA or any(word in text for word in _DATA_WORDS):
            return True
    return False


def refusal(spec: str, errors: list[BaseException], signature: str) -> SpeedlightError:
    """Why no way of tracing worked, as the error to raise.

    Args:
        errors: what each way raised, in the order they were tried.
        signature: the module's ``forward``, for the hint.
    """
    for error in errors:
        if isinstance(error, SpeedlightError):
            return error
    data = [e for e in errors if needs_data(e)]
    if data:
        where = next((p for p in map(place_of, data) if p), "")
        return BadInput(
            f"{spec} is a module that needs real data: its control flow or sizes depend on the values of tensors{where}",
            expected="a forward whose branches and shapes depend on shapes only",
            hint="trace a part of the module, or replace the branch in a factory of your own",
        )
    error = errors[-1] if errors else RuntimeError("nothing was tried")
    return BadInput(
        f"{spec} does not run on these inputs: {short(error)}{place_of(error)}",
        expected=f"inputs as forward{signature} takes them",
        hint="one --input for each tensor, in order; name=1x128 for a keyword",
    )
