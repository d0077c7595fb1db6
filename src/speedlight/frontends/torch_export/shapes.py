"""PyTorch's symbolic sizes (sympy) → our expressions.

Dispatch is by class name: PyTorch's own sympy functions (``FloorDiv``, ``Mod`` …) live in a private module whose
classes come and go between versions, while their names and meanings stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._foundation.expr import Expr, ceildiv, const, maximum, minimum, sym


class NotSymbolic(Exception):
    """A size is no expression over the batch: the capture holds at one size only, or depends on data."""


class Sizes:
    """Converts sizes, remembering what it has seen.

    Args:
        names: sympy symbol name → our symbol (all leading dimensions map to ``batch``).
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self._seen: dict[Any, Expr] = {}

    def expr(self, size: Any) -> Expr:
        """An ``int``, ``SymInt`` or sympy expression as ours.

        Raises:
            NotSymbolic: for symbols that are no batch (data-dependent sizes) and functions we do not have.
        """
        if isinstance(size, int):
            return const(int(size))
        node = getattr(size, "node", None)
        tree = size if node is None else node.expr
        if isinstance(tree, int):
            return const(tree)
        found = self._seen.get(tree)
        if found is None:
            found = self._seen[tree] = self._convert(tree)
        return found

    def _convert(self, tree: Any) -> Expr:
        if getattr(tree, "is_Integer", False):
            return const(int(tree))
        if getattr(tree, "is_Symbol", False):
            if tree.name not in self.names:
                raise NotSymbolic(f"the size {tree.name} depends on the values of tensors")
            return sym(self.names[tree.name])
        if getattr(tree, "is_Rational", False):
            return const(int(tree.p)) / const(int(tree.q))
        name = type(tree).__name__
        args = [self.expr(a) if not getattr(a, "is_Boolean", False) else None for a in getattr(tree, "args", ())]
        if any(a is None for a in args) or not args:
            raise NotSymbolic(f"the size {tree} is no arithmetic over the batch")
        values: list[Expr] = [a for a in args if a is not None]
        if name == "Add":
            return _fold(values, lambda a, b: a + b)
        if name == "Mul":
            return self._product(tree)
        if name in ("Pow", "PowByNatural"):
            exponent = values[1].constant
            if exponent is not None and exponent < 0:
                return const(1) / values[0] ** int(-exponent)
            return values[0] ** values[1]
        if name in ("FloorDiv", "CleanDiv"):
            return values[0] // values[1]
        if name in ("CeilDiv", "CeilToInt") and len(values) == 2:
            return ceildiv(values[0], values[1])
        if name == "IntTrueDiv":
            return values[0] / values[1]
        if name in ("Mod", "PythonMod"):
            return values[0] % values[1]
        if name == "ModularIndexing":
            return (values[0] // values[1]) % values[2]
        if name == "Max":
            return _fold(values, maximum)
        if name == "Min":
            return _fold(values, minimum)
        if name in ("Identity", "ToFloat", "TruncToInt"):
            return values[0]
        if name == "floor":
            return values[0] // 1
        if name == "ceiling":
            return ceildiv(values[0], 1)
        raise NotSymbolic(f"the size {tree} uses {name}")

    def _product(self, tree: Any) -> Expr:
        """Constants first, divisors last, so that whole numbers stay whole: 3/2·s is (3·s)/2."""
        number, divisor = 1, 1
        result: Expr | None = None
        for factor in tree.args:
            if getattr(factor, "is_Rational", False):
                number, divisor = number * int(factor.p), divisor * int(factor.q)
                continue
            value = self.expr(factor)
            result = value if result is None else result * value
        product = const(number) if result is None else (result * number if number != 1 else result)
        return product if divisor == 1 else product / divisor


def _fold(values: list[Expr], combine: Any) -> Expr:
    result = values[0]
    for value in values[1:]:
        result = combine(result, value)
    return result


def hint(size: Any) -> int:
    """The number a size has while tracing.

    Raises:
        NotSymbolic: where it is known only from data.
    """
    if isinstance(size, int):
        return int(size)
    node = size.node
    value = getattr(node, "hint", None)
    if value is None:
        raise NotSymbolic(f"the size {node.expr} depends on the values of tensors")
    return int(value)
