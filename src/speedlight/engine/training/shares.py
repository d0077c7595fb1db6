"""What a training step's seconds go to: computation, computing again, exposed messages by axis, the bubble, launches, the update."""

from __future__ import annotations

from collections.abc import Sequence

from ..answers.prediction import OpRow

COMPUTE, AGAIN, BUBBLE, LAUNCH, UPDATE = "compute", "recompute", "bubble", "launch", "optimizer"


def shares(rows: Sequence[OpRow]) -> dict[str, float]:
    """Shares of a step, which sum to 1; of a sweep's answer, which has no rows, none.

    Messages are ``communication`` as far as they lengthen the step; what lies under computation costs nothing.
    """
    found: dict[str, float] = {}
    for row in rows:
        found[_sort(row)] = found.get(_sort(row), 0.0) + float(row.time)
    total = sum(found.values())
    return {name: seconds / total for name, seconds in found.items()} if total > 0 else {}


def _sort(row: OpRow) -> str:
    if row.kind == "collective":
        return "communication"
    if row.kind == "gap":
        return BUBBLE if row.bound == "bubble" else LAUNCH
    if row.phase == "optimizer":
        return UPDATE
    return AGAIN if row.name.startswith("recompute.") else COMPUTE
