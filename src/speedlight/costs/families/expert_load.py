"""How a batch's picks fall on the experts of one rank: distinct experts, rows, tiles.

*balanced*: T tokens with k picks each fall evenly, so a rank of ep holds T k / ep rows (at least one pick's worth: rank 0
is where the even pattern starts). *power_law_a*: every expert's load is drawn from a truncated power law of exponent a,

    x = (lo^(1-a) + u (hi^(1-a) - lo^(1-a)))^(1/(1-a)),   (lo, hi) = (1, 0.8 T) if T k > E else (0.01, 2),

scaled to a sum of T k and rounded by largest remainders; the rank asked about is the busiest (both were checked against
the table: the distinct experts that memory-bound times imply on one rank, and how loads grow with ep). What is returned
are means over a fixed set of draws, so that results are deterministic and smooth in T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum
from ..._foundation.errors import BadInput
from ...graph.expert_spread import power_draws

TILES = (8, 16, 32, 48, 64, 128, 256)
GROUPS, ALLOWED = 8.0, 4.0  # DeepSeek-V3's groups of experts, and how many a token may pick from (n_group, topk_group)
FEW_DRAWS, SAMPLE = 8, 64  # draws, and tokens of each, that the rule is followed through
_FIELDS = 2 + len(TILES)


@dataclass(frozen=True, slots=True)
class Load:
    """Expected load of the rank.

    Attributes:
        distinct: experts with at least one row.
        rows: (token, pick) pairs.
        tiles: tile height → Σ over experts of ceil(rows / height).
        least_distinct, least_rows: what no draw falls below.
    """

    distinct: Value
    rows: Value
    tiles: dict[int, Value]
    least_distinct: Value
    least_rows: Value


def exponent_of(distribution: str) -> float | None:
    """``balanced`` → None (also ``uniform``), ``power_law_a`` → a."""
    if distribution in ("balanced", "uniform"):
        return None
    if distribution.startswith("power_law_"):
        try:
            return float(distribution.removeprefix("power_law_"))
        except ValueError:
            pass
    raise BadInput(f"distribution {distribution}", expected="balanced, uniform or power_law_<exponent>")


def load(tokens: Value, picks: Value, experts: Value, ep: Value, exponent: float | None, evenly: bool = True) -> Load:
    """Load of the busiest of ``ep`` ranks; floats or arrays.

    Args:
        evenly: how picks that rounding left over lie (:func:`...graph.expert_spread.power_draws`).
    """
    if exponent is None:
        return _even(tokens, picks, experts, ep)
    return _pack(_each(_one, tokens, picks, experts, ep, exponent, evenly), tokens, picks, ep)


def _each(
    one: Callable[..., Any],
    tokens: Value,
    picks: Value,
    experts: Value,
    ep: Value,
    exponent: float,
    evenly: bool = True,
) -> np.ndarray:
    """What ``one`` says of every entry, its fields first; each distinct entry is asked once."""
    columns = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (tokens, picks, experts, ep)))
    flat = np.stack([c.ravel() for c in columns], 1)
    present, inverse = np.unique(flat, axis=0, return_inverse=True)
    found = np.asarray([one(*row, exponent, evenly) for row in present.tolist()])[inverse.ravel()].T
    result: np.ndarray = found.reshape(*found.shape[:-1], *columns[0].shape)
    return result


def reached(
    tokens: Value, picks: Value, experts: Value, ep: Value, exponent: float | None, evenly: bool = True
) -> Value:
    """Tokens that have a pick on the busiest of ``ep`` ranks; floats or arrays.

    Even picks lie on min(k, ep) ranks. Skewed ones are dealt expert by expert, so that an expert of load l has l tokens of T, and
    those of several experts meet as if by chance: T (1 - Π (1 - l / T)) tokens reach their rank.
    """
    if exponent is None:
        return tokens * minimum(picks / ep, 1.0)
    return _each(_one_reached, tokens, picks, experts, ep, exponent, evenly)


def _even(tokens: Value, picks: Value, experts: Value, ep: Value) -> Load:
    rows = maximum(tokens * picks / ep, 1.0)
    distinct = minimum(maximum(np.floor(experts / ep), 1.0), ceil(rows))
    mean = rows / distinct
    return Load(distinct, rows, {t: distinct * ceil(mean / t) for t in TILES}, distinct, rows)


def limited(tokens: Value, picks: Value, experts: Value, ep: Value, exponent: float | None) -> Load:
    """The load of the first rank, the busiest before the rule, under DeepSeek-V3's rule: a token may pick from four of eight groups only."""
    if exponent is None:
        return _even_limited(tokens, picks, experts, ep)
    return _pack(_each(_one_limited, tokens, picks, experts, ep, exponent), tokens, picks, ep)


def _even_limited(tokens: Value, picks: Value, experts: Value, ep: Value) -> Load:
    """Balanced picks, each in another group.

    All groups look alike to the rule, which takes the first: half of a token's picks stay, the others fall on the first experts
    there are. (B200's times say so: memory-bound ones rise by four experts a token where they else rise by eight, and the first
    of eight ranks takes 5/8 of all ranks' time.)
    """
    wide = experts / GROUPS  # experts of a group
    held = maximum(experts / ep, 1.0)
    kept = picks * ALLOWED / GROUPS
    open_to = minimum(held, wide * ALLOWED)  # experts of the rank in the first groups
    each = tokens * kept / (wide * ALLOWED)  # rows each of them keeps
    spread = minimum(tokens, wide) * open_to / wide  # how many of them keep any
    hot = minimum(picks - kept, held)
    rows = maximum(each * open_to + tokens * hot, 1.0)  # each of the first experts gets a row of every token beside
    distinct = minimum(maximum(spread, 1.0) + hot * maximum(1.0 - tokens / wide, 0.0), minimum(held, rows))
    mean = each * open_to / maximum(spread, 1.0)
    tiles = {t: maximum(distinct - hot, 0.0) * ceil(mean / t) + hot * ceil((tokens + each) / t) for t in TILES}
    return Load(distinct, rows, {t: maximum(n, distinct) for t, n in tiles.items()}, distinct, rows)


@lru_cache(maxsize=65536)
def _one_limited(
    tokens: float, picks: float, experts: float, ep: float, exponent: float, evenly: bool
) -> tuple[float, ...]:
    """Skewed picks under the rule.

    A benchmark's list of picks, experts in order of their loads, is cut into as many columns as a token has picks. Of a token's eight picks
    some 1.5 to 2 lie outside its four groups and fall on the first experts of the first group it may use. A rank of 16 gets twice
    its rows so, one of 64 three times (times of an H200 say 2.0 and 3.0 at 16,384 tokens, next to a shape without the rule).
    """
    held = max(round(experts / ep), 1)
    drawn = _busiest_first(power_draws(tokens, picks, int(experts), exponent, evenly)[:FEW_DRAWS], held)
    return _first_rank(np.stack([_under_rule(own.ravel(), int(picks), tokens) for own in drawn])[:, :held])


def _busiest_first(counts: np.ndarray, held: int) -> np.ndarray:
    """Draws × ranks × experts of a rank: picks of experts, the busiest rank changed places with the first."""
    draws = np.arange(len(counts))
    ranks = counts[:, : counts.shape[1] // held * held].reshape(draws.size, -1, held).copy()
    busiest = ranks.sum(2).argmax(1)
    ranks[draws, 0], ranks[draws, busiest] = ranks[draws, busiest], ranks[:, 0].copy()
    return ranks


def _under_rule(counts: np.ndarray, picks: int, tokens: float) -> np.ndarray:
    """An expert's picks after the rule: two experts that a token wants make a group's score at most.

    From a sample of the tokens come the share of its picks that each group keeps and where the others fall.
    """
    order = np.argsort(-counts, kind="stable")
    sample = int(min(tokens, SAMPLE))
    at = ((np.arange(sample) + 0.5) / sample)[:, None] + np.arange(picks)
    wanted = order[np.minimum(np.searchsorted(np.cumsum(counts[order]), at * counts.sum() / picks), counts.size - 1)]
    hit = np.zeros((sample, counts.size), bool)
    hit[np.arange(sample)[:, None], wanted] = True
    scores = np.minimum(hit.reshape(sample, int(GROUPS), -1).sum(2), 2)
    allowed = np.zeros(scores.shape, bool)
    allowed[np.arange(sample)[:, None], np.argsort(-scores, axis=1, kind="stable")[:, : int(ALLOWED)]] = True
    wide = counts.size // int(GROUPS)
    open_to = np.repeat(allowed, wide, axis=1)
    kept = hit & open_to
    others = open_to & ~hit
    filled = others & (np.cumsum(others, axis=1) <= (picks - kept.sum(1))[:, None])
    shares = kept.reshape(sample, -1, wide).sum((0, 2)) / np.maximum(hit.reshape(sample, -1, wide).sum((0, 2)), 1)
    moved = counts * np.repeat(shares, wide) + filled.sum(0) * (tokens / sample)
    result: np.ndarray = moved * (counts.sum() / moved.sum())
    return result


def _pack(values: np.ndarray | tuple[float, ...], tokens: Value, picks: Value, ep: Value) -> Load:
    distinct, rows, *tiles = values
    share = picks / ep
    # The busiest rank has at least the mean load, and a token picks an expert once.
    return Load(
        distinct, rows, dict(zip(TILES, tiles, strict=True)), maximum(ceil(share), 1.0),
        maximum(tokens * share, 1.0),
    )  # fmt: skip


@lru_cache(maxsize=65536)
def _one_reached(tokens: float, picks: float, experts: float, ep: float, exponent: float, evenly: bool) -> float:
    own = _busiest(tokens, picks, experts, ep, exponent, evenly)
    return float(tokens * (1.0 - np.prod(1.0 - np.minimum(own / tokens, 1.0), axis=1)).mean())


@lru_cache(maxsize=65536)
def _one(tokens: float, picks: float, experts: float, ep: float, exponent: float, evenly: bool) -> tuple[float, ...]:
    return _first_rank(_busiest(tokens, picks, experts, ep, exponent, evenly))


def _busiest(tokens: float, picks: float, experts: float, ep: float, exponent: float, evenly: bool) -> np.ndarray:
    """Draws × experts of the busiest rank: their picks."""
    counts = power_draws(tokens, picks, int(experts), exponent, evenly)
    return _busiest_first(counts, max(round(experts / ep), 1))[:, 0]


def _first_rank(own: np.ndarray) -> tuple[float, ...]:
    """Means over draws × experts of one rank: experts with rows, rows, tiles of each height."""
    tiles = (float(np.ceil(own / t).sum(1).mean()) for t in TILES)
    return (float(np.minimum(own, 1.0).sum(1).mean()), float(own.sum(1).mean()), *tiles)
