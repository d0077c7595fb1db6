"""The catalogue of techniques as plain rows: for listings, documentation and JSON."""

from __future__ import annotations

from typing import Any

from .technique import FAMILIES, Technique, catalogue


def rows(pattern: str = "") -> list[dict[str, Any]]:
    """One row a technique whose name, title, family or papers contain the pattern, in the order of families."""
    wanted = pattern.lower()
    order = list(FAMILIES)
    found = [
        row(t) for t in catalogue().values()
        if any(wanted in text.lower() for text in (t.name, t.title, t.family, FAMILIES[t.family], *t.papers))
    ]  # fmt: skip
    return sorted(found, key=lambda r: (order.index(r["family"]), r["name"]))


def row(t: Technique) -> dict[str, Any]:
    """A technique as plain data."""
    return {
        "name": t.name, "title": t.title, "family": t.family, "mechanism": t.mechanism, "papers": list(t.papers),
        "citation": t.citation, "exact": t.exact, "memory_only": t.memory_only,
        "edits": [{"stage": e.stage, "slot": e.slot} for e in t.edits],
        "parameters": [
            {
                "name": p.name, "default": p.default, "unit": p.unit, "means": p.means, "choices": list(p.choices), "low": p.low,
                "high": p.high, "neutral": p.neutral, "source": p.source,
            }
            for p in t.parameters
        ],
        "quality": [{"what": q.what, "value": q.value, "source": q.source} for q in t.quality],
        "kernel_grade": t.kernel_grade or None,
    }  # fmt: skip
