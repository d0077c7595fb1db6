"""A stack's graph rewrites, in their two places: what the framework's code does, and what a library makes of single calls.

Between the two lies differentiation: autocast's casts have gradients, a library's layout changes have none of their own
(each convolution of the backward pass makes them itself).
"""

from __future__ import annotations

from functools import lru_cache

from .._foundation.errors import Unsupported
from ..graph.ir import Graph
from ..graph.rewrite import rewrite
from ..graph.rewrite.conversions import settled
from ..stacks.stack import RuleUse, Stack
from .alike import Like, by_rules, frozen, functions_of, only


def as_written(graph: Graph, stack: Stack, autocast: str | None = None) -> Graph:
    """The forward graph as the framework's code runs it: functions it did not have written out, casts of autocast put in.

    Args:
        autocast: the low format of a mixed-precision region around the forward pass.

    Raises:
        Unsupported: autocast under a stack that states no lists for it.
    """
    if graph.attrs.get("kind") == "module" and stack.rewrites:
        graph = _written(graph, by_rules(stack, stack.rewrites))
    if stack.attrs.get("loss") == "fp32" and graph.attrs.get("kind") == "transformer":
        graph = _widened(graph, bool(stack.attrs.get("local_loss", False)))
    if autocast is None:
        return _settled(graph)
    if not stack.autocast:
        raise Unsupported(
            f"the stack {stack.id} has no autocast", expected="a stack of PyTorch, or --dtype for the whole model"
        )
    return _cast(graph, autocast, frozen(only(stack.autocast, functions_of(graph))))


@lru_cache(maxsize=64)
def _settled(graph: Graph) -> Graph:
    return settled(graph)


@lru_cache(maxsize=64)
def _widened(graph: Graph, local: bool) -> Graph:
    return rewrite(graph, "loss_in_fp32", {"local": local}, checked=False)


@lru_cache(maxsize=64)
def _written(graph: Graph, like: Like) -> Graph:
    return _applied(graph, like.stack.rewrites)


@lru_cache(maxsize=64)
def _cast(graph: Graph, autocast: str, lists: tuple[tuple[str, tuple[str, ...]], ...]) -> Graph:
    return rewrite(graph, "autocast", {"to": autocast, **dict(lists)}, checked=False)


def expanded(graph: Graph, stack: Stack) -> Graph:
    """The graph with every call taken apart as the stack's libraries do; once, however often it is asked."""
    if not stack.expand or graph.attrs.get("expanded"):
        return graph
    return _taken_apart(graph, by_rules(stack, stack.expand))


@lru_cache(maxsize=64)
def _taken_apart(graph: Graph, like: Like) -> Graph:
    made = _applied(graph, like.stack.expand)
    return graph if made is graph else made.replace(attrs={**made.attrs, "expanded": like.stack.name})


def _applied(graph: Graph, rules: tuple[RuleUse, ...]) -> Graph:
    """Rules of stacks are held to the grammar by tests on every stack; checking each use would take a tenth of the time."""
    made = graph
    for use in rules:
        made = rewrite(made, use.rule, use.parameters, checked=False)
    return made
