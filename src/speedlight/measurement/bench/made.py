"""An operator with its operands, as a benchmark runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Made:
    """An operator with its operands.

    Attributes:
        function: takes ``inputs``, then ``weights``.
        module: holds its weights itself, and is the function then.
        turn: takes its weights in turn from these, so that no cache keeps them.
    """

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    weights: tuple[Any, ...] = ()
    module: Any = None
    turn: tuple[Any, ...] = ()
