"""Comparing sizes by value, and the formats of gradients."""

from __future__ import annotations

from typing import Any

from ..._foundation.expr import Expr, compile_tape
from ..._foundation.formats import number_format
from ..ir import Graph


class Samples:
    """Compares sizes by value at two settings: sums of parts rarely have the form of the whole."""

    def __init__(self, graph: Graph) -> None:
        self._settings = []
        for count, new, batch in ((2.0, 384.0, 6.0), (3.0, 1024.0, 10.0)):
            env: dict[str, Any] = {name: float(dim.size) for name, dim in graph.dims.items()}
            env |= dict.fromkeys(graph.symbols, batch)
            env |= {"tokens": count * new, "seqs": count, "logits": count * new, "groups": 1.0, "caching": 0.0}
            env |= {"training": 1.0, "tp": 1.0, "pp": 1.0, "dp": 1.0, "ep": 1.0, "cp": 1.0}
            self._settings.append((env, [{"count": count, "new": new, "cached": 0.0}]))
        self._seen: dict[Expr, tuple[float, ...]] = {}

    def values(self, expr: Expr) -> tuple[float, ...]:
        if expr not in self._seen:
            tape = compile_tape([expr])
            self._seen[expr] = tuple(float(tape.run(env, groups)[0]) for env, groups in self._settings)
        return self._seen[expr]

    def equal(self, a: Expr, b: Expr) -> bool:
        if a is b or a == b:
            return True
        return all(
            abs(x - y) <= 1e-9 * max(abs(x), abs(y)) for x, y in zip(self.values(a), self.values(b), strict=True)
        )

    def less(self, a: Expr, b: Expr) -> bool:
        return all(x < y * (1 - 1e-9) for x, y in zip(self.values(a), self.values(b), strict=True))


def gradient_format(dtype: str) -> str:
    """Gradients have the format of what they belong to, at least 16 bits wide (8-bit training keeps bf16 gradients)."""
    number = number_format(dtype)
    return number.name if number.kind == "float" and number.bits >= 16 else "bf16"
