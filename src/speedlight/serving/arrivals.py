"""Loads by law: when requests come, and how long they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .requests import Requests

Value = Any


def lengths(mean: float, spread: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` lengths: all ``mean``, or uniform from (1 − spread) · mean to (1 + spread) · mean."""
    if mean < 1 or not 0 <= spread <= 1:
        raise BadInput(f"lengths of {mean} ± {spread}", expected="at least 1 token, a spread from 0 to 1")
    if spread == 0:
        return np.full(count, round(mean), np.int64)
    low, high = max(round(mean * (1 - spread)), 1), max(round(mean * (1 + spread)), 1)
    return rng.integers(low, high + 1, count)


def closed(
    clients: int, count: int, isl: float, osl: float, *, spread: float = 0.0, think: float = 0.0, seed: int = 0
) -> Requests:
    """``clients`` that all send at 0 and each send again when their last request ended, ``count`` requests in all."""
    if clients < 1 or count < 1:
        raise BadInput(f"{clients} clients with {count} requests", expected="at least 1 of each")
    rng = np.random.default_rng(seed)
    count = max(count, clients)
    return Requests(
        np.zeros(count),
        lengths(isl, spread, count, rng),
        lengths(osl, spread, count, rng),
        clients=clients,
        think=think,
    )


def open_loop(
    rate: float, count: int, isl: float, osl: float, *, burstiness: float = 1.0, spread: float = 0.0, seed: int = 0
) -> Requests:
    """Arrivals at ``rate`` a second, independent of what is served.

    Args:
        rate: requests a second; infinite for all at once.
        count: how many.
        isl, osl: mean lengths.
        burstiness: shape of the gamma distribution of gaps (``vllm bench serve --burstiness``): 1 is Poisson, below 1 comes
            in bursts, above 1 is more even.
        spread: see :func:`lengths`.
    """
    if not rate > 0 or count < 1 or not burstiness > 0:
        raise BadInput(f"{count} requests at {rate} a second, burstiness {burstiness}", expected="each above 0")
    rng = np.random.default_rng(seed)
    gaps = rng.gamma(burstiness, 1.0 / (rate * burstiness), count) if np.isfinite(rate) else np.zeros(count)
    gaps[0] = 0.0
    return Requests(np.cumsum(gaps), lengths(isl, spread, count, rng), lengths(osl, spread, count, rng))


def with_prefix(requests: Requests, shared: int, groups: int, link_tokens: int, seed: int = 0) -> Requests:
    """Every prompt begins with ``shared`` tokens of one of ``groups`` texts (system prompts, documents)."""
    if groups < 1 or shared < 0 or link_tokens < 1:
        raise BadInput(f"{groups} groups of {shared} shared tokens", expected="at least one group, tokens from 0 on")
    group = np.random.default_rng(seed).integers(0, groups, len(requests))
    links = shared // link_tokens
    own = np.minimum(requests.prompt // link_tokens, links)
    at = np.concatenate([[0], np.cumsum(own)])
    within = np.arange(at[-1]) - np.repeat(at[:-1], own)
    chain = np.repeat(group * max(links, 1), own) + within
    return requests.replace(chain_at=at, chain=chain, link_tokens=link_tokens)


def with_adapters(requests: Requests, count: int, skew: float = 0.0, seed: int = 0) -> Requests:
    """Each request asks for one of ``count`` adapters, the k-th as often as k^−skew (0: all alike)."""
    if count < 1 or skew < 0:
        raise BadInput(f"{count} adapters with skew {skew}", expected="at least 1, skew from 0 on")
    weight = np.arange(1, count + 1, dtype=float) ** -skew
    chosen = np.random.default_rng(seed).choice(count, len(requests), p=weight / weight.sum())
    return requests.replace(adapter=chosen + 1)


def sessions(
    count: int, turns: int, rate: float, isl: float, osl: float, *, pause: float = 10.0, link_tokens: int = 16,
    burstiness: float = 1.0, seed: int = 0,
) -> Requests:  # fmt: skip
    """Conversations: each turn comes ``pause`` seconds after the last answer and begins with all that was said before.

    The graph of requests is a chain per session; agents and fan-out (``child_at``, ``child``) work the same way.
    """
    first = open_loop(rate, count, isl, osl, burstiness=burstiness, seed=seed)
    grown = round(isl) + np.arange(turns) * (round(isl) + round(osl))  # what a turn's prompt holds
    order = np.arange(count * turns)  # turn by turn: request (turn, session)
    arrival = np.concatenate([first.arrival, np.full(count * (turns - 1), np.inf)])
    own = grown // link_tokens
    at = np.concatenate([[0], np.cumsum(np.repeat(own, count))])
    session = np.tile(np.arange(count), turns)
    within = np.arange(at[-1]) - np.repeat(at[:-1], np.repeat(own, count))
    chain = np.repeat(session * int(own[-1]), np.repeat(own, count)) + within
    more = order < count * (turns - 1)
    return Requests(
        arrival, np.repeat(grown, count), np.full(count * turns, round(osl)), chain_at=at, chain=chain,
        link_tokens=link_tokens, child_at=np.concatenate([[0], np.cumsum(more)]), child=order[more] + count,
        delay=np.full(int(more.sum()), float(pause)),
    )  # fmt: skip
