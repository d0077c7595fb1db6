"""Stacks that make the same of a graph: versions of one framework mostly differ in functions that a given model does not call.

What is worked out for one of them holds for the others, so caches are keyed by what a step looks at, not by the stack.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from ..graph.ir import Graph
from ..stacks.record import RuleUse, Stack


class Like:
    """A stack that equals others where their ``key`` is the same."""

    __slots__ = ("_hash", "key", "stack")

    def __init__(self, stack: Stack, key: tuple[Any, ...]) -> None:
        self.stack, self.key = stack, key
        self._hash = hash(key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Like) and self.key == other.key


@lru_cache(maxsize=256)
def functions_of(graph: Graph) -> frozenset[str]:
    """The functions a graph calls."""
    return frozenset(op.fn for _, op in graph.ops())


def by_rules(stack: Stack, rules: tuple[RuleUse, ...]) -> Like:
    """Equal where the same rewrites apply with the same parameters."""
    return Like(stack, tuple((use.rule, frozen(use.parameters)) for use in rules))


def by_kernels(stack: Stack, graph: Graph) -> Like:
    """Equal where every op of an expanded graph becomes the same kernels, and they fuse alike."""
    return Like(stack, (*_fusing(stack), _variants(stack, functions_of(graph))))


@lru_cache(maxsize=64)
def _fusing(stack: Stack) -> tuple[Any, ...]:
    loops = stack.loops
    said = None if loops is None else tuple(frozen(getattr(loops, name)) for name in type(loops).__dataclass_fields__)
    return stack.fuse, stack.fuse_all, stack.merge_linears, said, frozen(stack.library)


def _variants(stack: Stack, functions: Collection[str]) -> tuple[Any, ...]:
    """Of each function called the record that counts, the last one."""
    return tuple((fn, v) for fn, v in sorted(_by_function(stack).items()) if fn in functions)


@lru_cache(maxsize=64)
def _by_function(stack: Stack) -> Mapping[str, Any]:
    return {fn: variant for variant in stack.variants for fn in variant.fn.split("|")}


def only(lists: Mapping[str, Iterable[str]], functions: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Lists of functions without those that a graph does not call."""
    return {name: tuple(sorted(set(own) & set(functions))) for name, own in lists.items()}


def frozen(value: Any) -> Any:
    """Mappings and lists as nested tuples, which can be keys."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(name), frozen(own)) for name, own in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(frozen(own) for own in value)
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(map(frozen, value)))
    return value


__all__ = ["Like", "by_kernels", "by_rules", "frozen", "functions_of", "only"]
