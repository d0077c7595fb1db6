"""The ranks that hold a group's experts, by how busy they are: what the busiest has sets the pace (DESIGN decision 8).

A layer of experts ends when its busiest rank is done: tokens meet again behind it. So experts' ops are priced at that rank's
rows; the other ranks of the group wait, each class of them with its own rows. Which rank is busiest differs from layer to layer, so
that over a network's layers the loads' spread shrinks by their root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.expr import evaluate
from ...graph.expert_spread import Ranks, Spread, ranks, spread_of
from ...graph.ir import Graph
from ...graph.rewrite.uneven_experts import ROWS, TOUCHED
from ...graph.stats import unsharded

SPREAD = "expert_spread"  # among the symbols of a step, how rows fall; no number, and no expression names it
KEPT = "expert_kept"  # symbols of the share of rows that no capacity drops
DRAW = "expert_draw"  # how many standard deviations of the layers' mean the loads stand from what is expected


@dataclass(frozen=True, slots=True)
class Load:
    """A stated spread, the layers its draws average over, and where in their spread the question stands."""

    spread: Spread
    layers: float
    at: Value = 0.0


@dataclass(frozen=True, slots=True)
class RankClass:
    """Ranks of one load.

    Attributes:
        ranks: how many of a group.
        rows: over the mean rank's, before anything is dropped.
    """

    ranks: int
    rows: float


def load_of(graph: Graph, words: str, at: Value = 0.0) -> Load:
    """The load of a question's network."""
    counts = [
        block.count
        for block in graph.blocks
        if any(op.fn == "grouped_linear" and op.selection is not None for op in block.ops)
    ]
    known = {k: v for k, v in graph.symbols.items() if v is not None}
    layers = sum(float(np.mean(evaluate(count, {**known, **unsharded(graph)}))) for count in counts)
    return Load(spread_of(words), max(layers, 1.0), at)


def bound(env: Mapping[str, Any]) -> dict[str, Any]:
    """A step's symbols with those of its experts' ranks; the same where no spread is stated."""
    load = env.get(SPREAD)
    if load is None:
        return dict(env)
    found = {name: value for name, value in env.items() if name != SPREAD}
    routed = np.asarray(env["routed"], dtype=float) > 0
    tokens = np.where(routed, env["tokens"] * np.asarray(env["ep"]) * env["etp"] / env["tp"], env["tokens"])
    for name in env:
        if not name.startswith(ROWS):
            continue
        key = name.removeprefix(ROWS)
        experts, picks = (float(part) for part in key.strip("_").split("_"))
        rows, touched, kept = _values(load, tokens, picks, int(experts), np.asarray(env["ep"]))
        found[name], found[f"{TOUCHED}{key}"], found[f"{KEPT}{key}"] = rows, touched, kept
    return found


def of_all(env: Mapping[str, Any], key: str) -> Value:
    """What all ranks of a group do, on average, over what the busiest does."""
    return env[f"{KEPT}_{key}"] / env[f"{ROWS}_{key}"] if f"{KEPT}_{key}" in env else 1.0


def _values(
    load: Load, tokens: np.ndarray, picks: float, experts: int, group: np.ndarray
) -> tuple[Value, Value, Value]:
    """(rows of the busiest rank over the mean, distinct experts over those of equal chance, share of rows not dropped), floats
    or arrays."""
    pairs = np.broadcast_arrays(tokens, group, np.asarray(load.at, dtype=float))
    flat = np.stack([p.ravel().astype(float) for p in pairs], 1)
    present, inverse = np.unique(flat, axis=0, return_inverse=True)
    rows, touched, remain = [], [], []
    for count, n, at in present.tolist():
        there = ranks(load.spread, max(count, 1.0), picks, experts, max(int(n), 1))
        own = float(there.rows[0]) + at * float(there.busiest.std()) / load.layers**0.5
        even = max(experts // max(int(n), 1), 1) * (1.0 - (1.0 - picks / experts) ** max(count, 1.0))
        rows.append(max(own, 1.0 - there.dropped))
        touched.append(there.distinct / max(even, 1e-9))
        remain.append(1.0 - there.dropped)
    shape = pairs[0].shape
    found = [np.asarray(v)[inverse.ravel()].reshape(shape) for v in (rows, touched, remain)]
    return tuple(v if shape else float(v) for v in found)  # type: ignore[return-value]


def classes_of(there: Ranks) -> tuple[RankClass, ...]:
    """Ranks by load, those within a percent of each other together."""
    found: list[RankClass] = []
    for rows in there.rows.tolist():
        if found and abs(found[-1].rows - rows) <= 0.01 * max(found[-1].rows, 1e-9):
            last = found[-1]
            total = last.ranks + 1
            found[-1] = RankClass(total, (last.rows * last.ranks + rows) / total)
        else:
            found.append(RankClass(1, rows))
    return tuple(found)


def described(there: Ranks) -> str:
    """One line for people."""
    n = len(there.rows)
    rest = float(there.rows[1:].mean()) if n > 1 else None
    text = f"the busiest of {n} ranks has {there.rows[0]:.2f} × the mean rows" + (
        f", the others {rest:.2f} ×" if rest is not None else ""
    )
    return text + (f"; {100 * there.dropped:.1f} % of rows dropped" if there.dropped > 5e-4 else "")


__all__ = ["DRAW", "SPREAD", "Load", "RankClass", "bound", "classes_of", "described", "load_of", "of_all"]
