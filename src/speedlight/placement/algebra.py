"""How a tensor lies over the ranks of one mesh axis, and which message takes it from one way to another.

=========== ==============================================================
state       each rank has
=========== ==============================================================
``whole``   all of it (broadcast)
``split``   its own part
``partial`` a term of the sum that it is
=========== ==============================================================

A product of axes is one state for each axis; messages follow axis by axis (GSPMD, arXiv 2105.04663 §3; the states of
PyTorch's DTensor: Replicate, Shard, Partial).
"""

from __future__ import annotations

WHOLE, SPLIT, PARTIAL = "whole", "split", "partial"
STATES = (WHOLE, SPLIT, PARTIAL)

_MESSAGES = {
    (PARTIAL, WHOLE): "all_reduce",
    (PARTIAL, SPLIT): "reduce_scatter",
    (SPLIT, WHOLE): "all_gather",
}


def message(before: str, after: str, *, other_way: bool = False) -> str | None:
    """The collective between two states; None where every rank has what it needs already.

    Args:
        other_way: both are ``split``, but along different dimensions.

    Raises:
        ValueError: for a state nobody wants: sums are never taken apart.
    """
    if before not in STATES or after not in STATES or (after == PARTIAL and before != PARTIAL):
        raise ValueError(f"no message makes {after} of {before}")
    if before == after:
        return "all_to_all" if other_way and before == SPLIT else None
    return _MESSAGES.get((before, after))  # whole → split: each rank takes its part
