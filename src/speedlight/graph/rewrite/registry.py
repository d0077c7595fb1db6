"""Where rewrites are filed by name."""

from __future__ import annotations

from collections.abc import Callable

from ..._foundation.registry import Registry
from ..ir import Graph

Rewriter = Callable[..., Graph]
REWRITES: Registry[Rewriter] = Registry("graph rewrite", "speedlight.rewrites")
