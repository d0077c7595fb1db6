"""How a batch's picks fall on experts, and so on the ranks that hold them: rows by order of rank, distinct experts, what is dropped.

- ``balanced``: every rank has the mean.
- ``uniform``: every pick is any of the experts with equal chance; the busiest rank has more than the mean by chance alone.
- ``power:a``: popularities are drawn from a truncated power law of exponent a,
  x = (lo^(1-a) + u (hi^(1-a) − lo^(1-a)))^(1/(1-a)), (lo, hi) = (1, 0.8 T) if T k > E else (0.01, 2), scaled to T k rows
  (the spread of the public expert tables' ``power_law_a``), no expert above T.

With a *capacity* c an expert computes at most c times the even share of rows; what is over is dropped (GShard, arXiv 2006.16668 §2.2).
Without, the group waits for the rank that has most. Numbers are means over a fixed set of draws, so that equal questions get equal
answers.

Legend: T tokens of all ranks that share the experts, k picks of each, E experts, n ranks of E/n experts each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .._foundation.errors import BadInput
from .._foundation.quantity import parse_quantity

DRAWS = 32
MOST_EXPERTS = 1 << 14


@dataclass(frozen=True, slots=True)
class Spread:
    """A stated distribution of rows over experts.

    Attributes:
        kind: ``balanced``, ``uniform`` or ``power``.
        exponent: of ``power``.
        capacity: slots of an expert over the even share; infinite where nothing is dropped.
    """

    kind: str = "balanced"
    exponent: float = 0.0
    capacity: float = math.inf


@dataclass(frozen=True, slots=True)
class Ranks:
    """What falls on the ranks of one group, in units of the mean rank's rows before anything is dropped.

    Attributes:
        rows: of the busiest rank, the second busiest …: n numbers, means over draws.
        busiest: of the busiest, in each draw.
        distinct: experts with at least one row, on the rank that has most of those; a number, not a share.
        dropped: share of all rows.
    """

    rows: np.ndarray
    busiest: np.ndarray
    distinct: float
    dropped: float


def spread_of(words: str) -> Spread:
    """``balanced``, ``uniform``, ``power:1.2``, each with a capacity behind it: ``power:1.2,capacity:1.25``.

    Raises:
        BadInput: for other words.
    """
    expected = "balanced, uniform or power:a, and ,capacity:c behind it to drop what is over c times the even share"
    first, *rest = (part.strip() for part in str(words).split(","))
    kind, _, number = first.partition(":")
    found = {"exponent": 0.0, "capacity": math.inf}
    if kind not in ("balanced", "uniform", "power") or (kind == "power") != bool(number):
        raise BadInput(f"the expert load {words!r}", expected=expected)
    if number:
        found["exponent"] = parse_quantity(number, "")
    for part in rest:
        name, _, value = part.partition(":")
        if name != "capacity" or not value or not math.isinf(found["capacity"]):
            raise BadInput(f"the expert load {words!r}", expected=expected)
        found["capacity"] = parse_quantity(value, "")
    if not 0 <= found["exponent"] <= 10:
        raise BadInput(f"an exponent of {found['exponent']:g}", expected="0 to 10")
    if found["capacity"] <= 0:
        raise BadInput(f"a capacity of {found['capacity']:g}", expected="above 0; 1 drops all that is uneven")
    return Spread(kind, **found)


@lru_cache(maxsize=65536)
def ranks(spread: Spread, tokens: float, picks: float, experts: int, group: int) -> Ranks:
    """What falls on each of ``group`` ranks.

    Args:
        tokens: of the whole group; a token picks an expert at most once.
        group: ranks that divide the experts.
    """
    held = max(experts // group, 1)
    n = max(experts // held, 1)
    mean = tokens * picks / n
    if spread.kind == "balanced":
        slots = min(spread.capacity, 1.0)
        distinct = held * (1.0 - (1.0 - picks / experts) ** tokens)
        return Ranks(np.full(n, slots), np.full(DRAWS, slots), distinct, 1.0 - slots)
    counts = (
        uniform_draws(tokens, picks, experts)
        if spread.kind == "uniform"
        else power_draws(tokens, picks, experts, spread.exponent)
    )
    kept = np.minimum(counts, spread.capacity * tokens * picks / experts)
    groups = kept[:, : n * held].reshape(DRAWS, n, held)
    rows = -np.sort(-groups.sum(2), axis=1) / mean
    distinct = float((groups > 0).sum(2).max(1).mean())
    return Ranks(rows.mean(0), rows[:, 0].copy(), distinct, max(float(1.0 - kept.sum() / counts.sum()), 0.0))


@lru_cache(maxsize=512)
def power_draws(tokens: float, picks: float, experts: int, exponent: float, evenly: bool = True) -> np.ndarray:
    """Rows of every expert in every draw: loads rounded, what is missing given to experts without rows, evenly over all, or to the first.

    Of few picks an expert hardly any load reaches a half, so that they lie as evenly as balanced ones: with T k at most E / 13 the busiest rank
    of the tables takes what a balanced one takes, whatever the exponent; with E / 8 about half of the picks are spread so.
    """
    total = tokens * picks
    low, high = (1.0, max(0.8 * tokens, 1.0 + 1e-6)) if total > experts else (0.01, 2.0)
    u = _uniform(experts)
    if abs(exponent - 1.0) < 1e-9:
        x = low * (high / low) ** u
    else:
        power = 1.0 - exponent
        x = (low**power + u * (high**power - low**power)) ** (1.0 / power)
    share = np.minimum(x * (total / x.sum(1, keepdims=True)), tokens)
    return np.stack([_whole(own, total, evenly) for own in share])


def _whole(share: np.ndarray, total: float, evenly: bool) -> np.ndarray:
    """Whole rows of every expert that sum to ``total`` (rounded)."""
    counts = np.floor(share + 0.5)
    left = round(total - counts.sum())
    if left < 0:  # the least of those rounded up go back
        up = np.flatnonzero(counts > share)
        counts[up[np.argsort((share - np.floor(share))[up], kind="stable")[:-left]]] -= 1.0
        return counts
    # Where loads were cut at T more may be missing than there are experts.
    counts += left // share.size
    left %= share.size
    if not evenly:
        counts[:left] += 1.0
        return counts
    empty = np.flatnonzero(counts == 0.0)
    where = empty if empty.size >= left else np.arange(share.size)
    counts[where[np.arange(left) * where.size // max(left, 1)]] += 1.0
    return counts


@lru_cache(maxsize=512)
def uniform_draws(tokens: float, picks: float, experts: int) -> np.ndarray:
    """Rows of every expert in every draw: T k picks, each any expert's."""
    total = max(round(tokens * picks), 1)
    counts = np.random.default_rng(experts).multinomial(total, np.full(experts, 1.0 / experts), size=DRAWS)
    return counts.astype(float) * (tokens * picks / total)


@lru_cache(maxsize=64)
def _uniform(experts: int) -> np.ndarray:
    return np.random.default_rng(experts).random((DRAWS, experts))


__all__ = ["DRAWS", "MOST_EXPERTS", "Ranks", "Spread", "power_draws", "ranks", "spread_of", "uniform_draws"]
