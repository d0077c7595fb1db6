"""The operator table: (domain, operator) → rule; the standard domain is ``""``."""

from __future__ import annotations

from .contrib import CONTRIB
from .elementwise import DRAWS, ELEMENTWISE
from .moving import MOVING
from .node import Rule
from .products import PRODUCTS
from .quantized import QUANTIZING
from .reducing import REDUCING

RULES: dict[tuple[str, str], Rule] = {**ELEMENTWISE, **MOVING, **REDUCING, **PRODUCTS, **QUANTIZING, **CONTRIB}

__all__ = ["DRAWS", "RULES"]
