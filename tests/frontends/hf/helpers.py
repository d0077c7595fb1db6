"""What the tests of this folder share: a configuration or bundled model → graph, and its numbers at given sizes."""

from __future__ import annotations

from typing import Any

from speedlight._foundation.expr import Expr, evaluate
from speedlight.frontends.hf import Config, architecture, formats_of
from speedlight.frontends.hf.build import build_graph
from speedlight.frontends.zoo import zoo_entry
from speedlight.graph import stats
from speedlight.graph.ir import Graph


def graph_of(config: dict[str, Any]) -> Graph:
    c = Config(config)
    return build_graph(architecture(c), formats_of(c))


def bundled(name: str) -> Graph:
    entry = zoo_entry(name)
    assert entry is not None, name
    return graph_of(entry["config"])


def at(graph: Graph, expr: Expr, count: float = 1, new: float = 1, cached: float = 0, caching: int = 1) -> float:
    """The value of an expression for one group of sequences, nothing sharded."""
    env = {
        **graph.symbols,
        **stats.unsharded(graph),
        **stats.step_symbols(count, new, cached),
        "caching": caching,
        "training": 1 - caching,
    }
    return float(evaluate(expr, env, [{"count": count, "new": new, "cached": cached}]))


def kept_bytes(graph: Graph, cls: str, count: float = 1, context: float = 1) -> float:
    """Bytes of a class kept for ``count`` sequences once ``context`` tokens are cached."""
    return at(graph, stats.kept(graph, cls), count, new=1, cached=context - 1)


def flops(graph: Graph, unit: str = "matmul", **sizes: Any) -> float:
    total: Expr | float = 0
    for block, op in graph.ops():
        total = op.flops(unit) * op.count * block.count + total
    assert isinstance(total, Expr)
    return at(graph, total, **sizes)
