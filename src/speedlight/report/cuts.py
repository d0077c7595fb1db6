"""The cuts of a network between machines, as a table: the ends, the best by each aim, and those close to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._foundation.quantity import format_bytes, format_si, format_time
from ..engine.cut import AIMS, Cuts
from .console import Fitted, heading, listing

ROWS = 8


def render_cuts(found: Cuts, aim: str = "latency") -> Any:
    """A rich renderable.

    Args:
        aim: what the explained cut is best in.
    """

    def build(columns: int, ascii_only: bool) -> Any:
        best = {name: found.best(name) for name in AIMS}
        value = found.time if aim == "latency" else found.period
        near = np.argsort(value, kind="stable")[:ROWS]
        chosen = sorted({0, len(found) - 1, *best.values(), *(int(i) for i in near)})
        heads = [
            ("cut", "left"),
            ("sends", "right"),
            ("a call takes", "right"),
            ("calls/s of a stream", "right"),
            ("", "left"),
        ]
        table = listing(heads, (), columns)
        for point in chosen:
            marks = [f"best {name}" for name in AIMS if best[name] == point]
            marks += [] if found.fits[point] else ["does not fit"]
            sent = " + ".join(format_bytes(float(each[point])) for each in found.bytes)
            table.add_row(
                found.names[point], sent, format_time(float(found.time[point])), format_si(1 / float(found.period[point]), ""),
                ", ".join(marks),
            )  # fmt: skip
        yield heading(f"{len(found):,} cuts between {' → '.join(found.machines)}", f"the one above is best in {aim}")
        yield table

    return Fitted(build, None)


__all__ = ["render_cuts"]
