"""Errors that say what came, what was expected and what to try.

::

    SpeedlightError
    ├── BadInput            a value, file or argument cannot be used (exit code 2)
    │   ├── UnknownName     a machine, model, stack … that no catalogue holds
    │   └── BadFile         a file that is missing, malformed or of a wrong schema
    ├── Unsupported         understood, but not executed by this version (exit code 2)
    └── MissingDependency   an optional extra is needed (exit code 2)

What does not *fit* is no error: infeasible is an answer (see :mod:`speedlight.engine`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpeedlightError(Exception):
    """Base of every error Speedlight raises on purpose.

    Args:
        message: what came, in one sentence.
        expected: what was expected instead.
        hint: what to try.
    """

    def __init__(self, message: str, *, expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.hint:
            parts.append(self.hint)
        return "; ".join(parts)

    def to_dict(self) -> dict[str, str]:
        """The ``error`` object of CONTRACT: type, message, expected, hint."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "expected": self.expected,
            "hint": self.hint,
        }


class BadInput(SpeedlightError):
    """A value that cannot be used."""


class BadFile(BadInput):
    """A file that is missing, malformed, too large or of an unknown schema."""


class Unsupported(SpeedlightError):
    """Well-formed, but this version does not execute it."""


class MissingDependency(SpeedlightError):
    """An optional extra is not installed."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(
            f"{why} needs the package {package!r}, which is not installed",
            expected=f"the extra {extra!r}",
            hint=f"pip install 'speedlight[{extra}]'",
        )


class UnknownName(BadInput):
    """A name no catalogue holds; suggests the nearest ones.

    Args:
        what: the sort of thing named (``machine``, ``model``, ``stack`` …).
        name: what came.
        known: the names that exist.
        listing: the command that lists them.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], listing: str = "") -> None:
        known = sorted(known)
        self.what = what
        near = nearest(name, known)
        if near:
            hint = "did you mean " + " or ".join(near) + "?"
        elif listing:
            hint = f"`{listing}` lists them"
        else:
            hint = "known: " + ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
        super().__init__(f"unknown {what} {name!r}", expected=f"one of {len(known)} known names", hint=hint)
        self.near = near


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names most like ``name``, best first (possibly none)."""
    folded = {k.lower(): k for k in known}
    key = name.lower().replace("_", "-").replace(" ", "-")
    inside = [k for low, k in folded.items() if key and (key in low or low in key)]
    close = [folded[k] for k in difflib.get_close_matches(key, list(folded), n=most, cutoff=0.6)]
    return list(dict.fromkeys([*close, *sorted(inside, key=len)]))[:most]
