"""Traces of several ranks together, and two traces beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...measurement.traces.attribute import CAUSES
from .diagnose import Diagnosis


def together(each: Sequence[Diagnosis]) -> dict[str, Any]:
    """What the ranks of a job say of each other.

    All ranks leave a collective together, so the one that spends least in messages came last, and what the others spend
    beyond that they spent waiting for it.

    Returns:
        the slowest rank, seconds each waited, and the share of messages that was waiting.
    """
    spent = {
        _name(d, i): d.where.seconds["communication"] + d.where.hidden["communication"] for i, d in enumerate(each)
    }
    last = min(spent, key=lambda name: spent[name])
    waited = {name: seconds - spent[last] for name, seconds in spent.items()}
    total = sum(spent.values())
    return {
        "ranks": len(each), "window": max(d.where.window for d in each), "last": last, "waited": waited,
        "waiting_share": sum(waited.values()) / total if total else 0.0,
    }  # fmt: skip


def _name(diagnosis: Diagnosis, number: int) -> str:
    return str(diagnosis.rank if diagnosis.rank is not None else number)


def difference(now: Diagnosis, before: Diagnosis) -> dict[str, Any]:
    """Seconds by cause and by sort of kernel, of two traces; per step where both mark steps."""
    steps = (now.where.steps or 1, before.where.steps or 1) if now.where.steps and before.where.steps else (1, 1)

    def pair(one: float, other: float) -> Mapping[str, float]:
        return {"now": one / steps[0], "before": other / steps[1], "change": one / steps[0] - other / steps[1]}

    kernels = {c.sort: c.busy for c in now.classes}
    earlier = {c.sort: c.busy for c in before.classes}
    return {
        "against": before.source, "per_step": steps != (1, 1) or now.where.steps == before.where.steps == 1,
        "window": pair(now.where.window, before.where.window),
        "seconds": {c: pair(now.where.seconds[c], before.where.seconds[c]) for c in CAUSES},
        "classes": {s: pair(kernels.get(s, 0.0), earlier.get(s, 0.0)) for s in (*kernels, *(e for e in earlier if e not in kernels))},
        "launches": pair(now.where.launches, before.where.launches),
    }  # fmt: skip
