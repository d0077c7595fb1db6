"""Steady state of work that repeats: the largest cycle mean of a graph whose edges may reach back k steps.

An edge says: the target of step n starts no earlier than so many seconds after the source of step n − lag. Repeated for ever, a
step takes

    λ = max over cycles of Σ seconds / Σ lag

(Baccelli, Cohen, Olsder, Quadrat: Synchronization and Linearity, theorem 3.28), found by policy iteration (Cochet-Terrasson et al.
1998, "Howard's algorithm"). Weights broadcast: each array point improves its own policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value
from .._foundation.errors import BadInput

Floats = np.ndarray

NOISE = 1e-12  # an improvement this small, relative to the largest edge, is rounding


@dataclass(frozen=True, slots=True)
class Edge:
    """``target`` of step n waits ``seconds`` after ``source`` of step n − ``lag``. Seconds broadcast; lags are structure."""

    source: str
    target: str
    seconds: Value
    lag: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """One thing done every ``period`` steps, in the order of its stream.

    Attributes:
        after: (name, lag) of works whose result it takes: of this step (0) or of ``lag`` steps ago. A result that is only made
            every few steps is the newest one that is old enough.
    """

    name: str
    seconds: Value
    stream: str
    after: tuple[tuple[str, int], ...] = ()
    period: int = 1


def steady_step(works: Sequence[Work]) -> Value:
    """Seconds a step takes on average once the start is forgotten.

    Streams run their works in the order given, step after step: asynchronous updates, averages of weights every H steps (local
    SGD), activations of the step before (displaced patches).

    Raises:
        BadInput: for names that do not exist, periods below 1, or work that waits for itself within a step.
    """
    names = {work.name for work in works}
    span = 1
    for work in works:
        if work.period < 1:
            raise BadInput(f"{work.name} every {work.period} steps", expected="a period of at least 1")
        for name, lag in work.after:
            if name not in names or lag < 0:
                raise BadInput(
                    f"{work.name} after {name!r} of {lag} steps ago", expected="a work, and a lag of at least 0"
                )
        span = int(np.lcm(span, work.period))
    period = {work.name: work.period for work in works}
    edges: list[Edge] = []
    last: dict[str, tuple[str, Value]] = {}
    first: dict[str, str] = {}
    for step in range(span):  # periods are unrolled: `span` steps are one turn of the graph
        for work in works:
            if step % work.period:
                continue
            node = f"{work.name}@{step}"
            if work.stream in last:
                edges.append(Edge(last[work.stream][0], node, last[work.stream][1]))
            first.setdefault(work.stream, node)
            last[work.stream] = (node, work.seconds)
            for name, lag in work.after:
                seconds = next(w.seconds for w in works if w.name == name)
                made = (step - lag) // period[name] * period[name]  # newest that old or older
                turns, at = divmod(made, span)
                edges.append(Edge(f"{name}@{at}", node, seconds, -turns))
    for stream, (node, seconds) in last.items():
        edges.append(Edge(node, first[stream], seconds, 1))
    return largest_cycle_mean(edges) / span


def largest_cycle_mean(edges: Sequence[Edge]) -> Value:
    """λ of the module docstring; 0 where there is no cycle.

    Raises:
        BadInput: for a cycle without a lag: something that waits for itself.
    """
    names = {name: i for i, name in enumerate({n: None for e in edges for n in (e.source, e.target)})}
    source = np.array([names[e.source] for e in edges])
    target = np.array([names[e.target] for e in edges])
    lag = np.array([e.lag for e in edges])
    spread = np.broadcast_arrays(*(np.asarray(e.seconds, dtype=float) for e in edges)) if edges else []
    kept = _on_cycles(source, target, lag, len(names))
    if not kept.any():
        return np.zeros(spread[0].shape) if edges and spread[0].ndim else 0.0
    shape = spread[0].shape
    weight = np.stack([x.ravel() for x in spread])[kept]
    nodes, flat = np.unique(np.concatenate([source[kept], target[kept]]), return_inverse=True)
    half = flat.size // 2
    mean = _howard(flat[:half], flat[half:], lag[kept], weight, nodes.size)
    return mean.reshape(shape) if shape else float(mean[0])


def _on_cycles(source: Floats, target: Floats, lag: Floats, nodes: int) -> Floats:
    """Edges that may lie on a cycle: what leads nowhere, or comes from nowhere, is cut again and again.

    Raises:
        BadInput: where edges without lag close a circle.
    """

    def peel(kept: Floats) -> Floats:
        while kept.any():
            leads = np.zeros(nodes, bool)
            comes = np.zeros(nodes, bool)
            leads[source[kept]] = True
            comes[target[kept]] = True
            stays = kept & leads[target] & comes[source]
            if (stays == kept).all():
                break
            kept = stays
        return kept

    if peel(lag == 0).any():
        raise BadInput("work waits for itself within one step", expected="a lag on some edge of every cycle")
    return peel(np.ones(source.size, bool))


def _howard(source: Floats, target: Floats, lag: Floats, weight: Floats, nodes: int) -> Floats:
    """Policy iteration: every node keeps one edge *into* it; its mean is that of the cycle the edges lead back to."""
    points = weight.shape[1]
    every = np.arange(points)
    order = np.argsort(target, kind="stable")
    policy = np.repeat(order[np.searchsorted(target[order], np.arange(nodes))][:, None], points, axis=1)
    scale = np.abs(weight).max(axis=0) + 1e-300
    column = np.broadcast_to(every, (nodes, points))
    for _ in range(10 * nodes + 100):
        back = source[policy]  # (nodes, points)
        cost, lags = weight[policy, column], lag[policy].astype(float)
        # a node's cycle: go back as many edges as there are nodes, then once around
        at = np.repeat(np.arange(nodes)[:, None], points, axis=1)
        for _ in range(nodes):
            at = back[at, column]
        root, walk = at.copy(), at
        seconds, length = np.zeros((nodes, points)), np.zeros((nodes, points))
        going = np.ones((nodes, points), bool)
        for _ in range(nodes):
            seconds += np.where(going, cost[walk, column], 0.0)
            length += np.where(going, lags[walk, column], 0.0)
            walk = back[walk, column]
            root = np.where(going, np.minimum(root, walk), root)
            going &= walk != at
        mean = seconds / length
        # how much later than its cycle's root a node is
        late = np.zeros((nodes, points))
        walk = np.repeat(np.arange(nodes)[:, None], points, axis=1)
        for _ in range(nodes):
            going = walk != root
            late += np.where(going, cost[walk, column] - mean * lags[walk, column], 0.0)
            walk = np.where(going, back[walk, column], walk)
        gain = mean[source] - mean[target]
        better = gain > NOISE * scale
        equal = np.abs(gain) <= NOISE * scale
        later = late[source] + weight - mean[target] * lag[:, None] - late[target]
        better |= equal & (later > NOISE * scale * nodes)
        if not better.any():
            break
        for edge in np.flatnonzero(better.any(axis=1)):  # the last of several improvements is kept
            policy[target[edge]] = np.where(better[edge], edge, policy[target[edge]])
    largest: Floats = mean.max(axis=0)
    return largest
