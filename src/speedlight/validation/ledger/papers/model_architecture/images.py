"""What derivations about networks of images share: ratios of two networks, one core of a processor, sums over a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....._foundation.expr import evaluate
from .....frontends.source import load_graph
from .....graph.ir import Block, Graph, Op
from ...bench import Bench
from ...finding import Span


def ratio(bench: Bench, before: str, after: str, machine: str, *, before_with: tuple[str, ...] = (), with_: tuple[str, ...] = (),
          of: str = "latency", **options: Any) -> Span:  # fmt: skip
    """Seconds of a call of the first network over those of the second, everything else alike."""
    return bench.speedup(
        bench.ask(before, machine, before_with, **options), bench.ask(after, machine, with_, **options), of
    )


def gain(span: Span) -> Span:
    """A factor as so many percent more."""
    return span.mapped(lambda x: (x - 1) * 100)


def saved(span: Span) -> Span:
    """A factor as so many percent of the time less."""
    return span.mapped(lambda x: (1 - 1 / x) * 100)


def one_core(bench: Bench, machine: str, bandwidth: float) -> dict[str, float]:
    """Figures of a processor of which one core works: its share of rates and of its own caches, and what it can read alone.

    Args:
        bandwidth: bytes a second that one core draws from memory.
    """
    whole = bench.machine(machine)
    cores = whole.engine.units
    found = {
        f"engines.{whole.engine.name}.peaks": bench.perturbed.peaks / cores,
        f"engines.{whole.engine.name}.units": 1.0,
    }
    for tier in whole.tiers:
        if tier.role == "cache":
            found[f"tiers.{tier.name}.bandwidth"] = tier.bandwidth / cores
            if tier.name != "llc":
                found[f"tiers.{tier.name}.capacity_bytes"] = tier.capacity_bytes / cores
    return {**found, f"tiers.{whole.main.name}.bandwidth": bandwidth * bench.perturbed.bandwidth}


def summed(model: str | Graph, amount: Callable[[Block, Op], Any]) -> float:
    """Σ over all ops of a graph, each block as often as it stands for, at a batch of one."""
    graph = load_graph(model) if isinstance(model, str) else model
    env = {k: float(v) for k, v in graph.symbols.items() if isinstance(v, (int, float))} | {"batch": 1.0}
    total = 0.0
    for block, op in graph.ops():
        found = amount(block, op)
        if found is not None:
            total += float(evaluate(found * block.count * op.count, env))
    return total


def outputs(model: str | Graph) -> float:
    """Elements that convolutions and other products write: what the literature calls a network's activations."""
    graph = load_graph(model) if isinstance(model, str) else model

    def size(block: Block, op: Op) -> Any:
        return (
            graph.tensor(block, op.writes[0].tensor).elements if op.kind in ("conv", "matmul") and op.writes else None
        )

    return summed(graph, size)


def products(model: str | Graph) -> float:
    """FLOPs of a network's products, two for a multiply-add."""

    def flops(block: Block, op: Op) -> Any:
        return op.flops("matmul") if op.kind in ("conv", "matmul", "attention") else None

    return summed(model, flops)
