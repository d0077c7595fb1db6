"""What a mean latency is linear in: seconds by sort of kernel and counts of host work, by column."""

from __future__ import annotations

import numpy as np

from ...engine.serving.part_grid import BY_TOKENS
from ...engine.serving.step_parts import SORTS

HOST = ("steps", "mixed", "launches", "gaps", "routing", "sequences", "clients")
"""Per step; per step with prompts; per kernel of such a step (not captured in a graph); per kernel of a step that only decodes; per layer of experts; per sequence of a step; per client a request shares the engine with."""
COLUMNS = (*SORTS, *(f"{sort}+" for sort in BY_TOKENS), *HOST)
"""Sorts of steps that only decode, then (``+``) of what sees tokens in steps with prompts: few tokens and many are told apart."""
_SECONDS = -len(HOST)  # columns before those of the host
METRICS = ("ttft", "tpot")
SPREAD = 0.2  # lengths of the usual random workload: 0.8 to 1 times the nominal ones
BUDGET = 8192  # tokens of a step


def by_prompts(seconds: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Seconds by sort (last axis) with what sees tokens moved to columns of its own where a step has prompts."""
    places = [SORTS.index(sort) for sort in BY_TOKENS]
    moved = seconds[..., places] * prompts[..., None]
    kept = seconds.copy()
    kept[..., places] -= moved
    return np.concatenate([kept, moved], -1)
