"""One thing to measure: a sort of benchmark and its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KIB, MIB = 2**10, 2**20


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to measure.

    Attributes:
        sort: ``stream``, ``operator``, ``launch``, ``transfer``, ``message`` or ``disk``.
        op: the loop or operator; see :mod:`.streams` and :mod:`.operators`.
        sizes: its arguments.
        quick: one of the few points of ``--quick``.
    """

    sort: str
    op: str
    sizes: Mapping[str, Any]
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.sort}:{self.op}(" + ",".join(f"{k}={v}" for k, v in self.sizes.items()) + ")"
