"""Where rewrites are filed by name."""

from __future__ import annotations

from collections.abc import Callable

from ..._foundation.registry import Registry
from ..ir import Graph

Rewriter = Callable[..., Graph]
REWRITES: Registry[Rewriter] = Registry("graph rewrite", "speedlight.rewrites")
REMODELS: set[str] = set()


def remodel(name: str) -> Callable[[Rewriter], Rewriter]:
    """File a rewrite that makes *another* model, by a share of what there is: applied to its own result it changes that again, and a
    graph it does not fit is refused. All others write one model another way, and are the same when applied twice."""
    REMODELS.add(name)
    return REWRITES.register(name)
