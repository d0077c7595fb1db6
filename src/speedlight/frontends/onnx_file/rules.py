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

# Never taken as done at load time: random numbers, and products, which stand in the file although their sides are constant
# (position tables through a projection): whether a runtime computes them once is for its stack to say.
COMPUTED = DRAWS | {name for _, name in PRODUCTS}

__all__ = ["COMPUTED", "RULES"]
