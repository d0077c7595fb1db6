"""Derivations by claim id; importing :mod:`.papers` fills it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import lru_cache

from .bench import Bench
from .finding import Finding

Derivation = Callable[[Bench], Finding]
_FOUND: dict[str, Derivation] = {}


def derives(*claims: str) -> Callable[[Derivation], Derivation]:
    """The function derives these claims (several where one figure is stated twice)."""

    def keep(function: Derivation) -> Derivation:
        for claim in claims:
            if claim in _FOUND:
                raise ValueError(f"{claim} is derived twice")
            _FOUND[claim] = function
        return function

    return keep


@lru_cache(maxsize=1)
def derivations() -> dict[str, Derivation]:
    """All of them by claim id."""
    from . import papers

    for found in pkgutil.walk_packages(papers.__path__, papers.__name__ + "."):
        if not found.ispkg:
            importlib.import_module(found.name)
    return dict(sorted(_FOUND.items()))
