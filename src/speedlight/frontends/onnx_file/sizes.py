"""Sizes that may follow the batch: whole numbers, or polynomials in the one free symbol ``batch``.

Shape arithmetic inside an ONNX file (``Shape → Gather → Mul → Concat → Reshape``) is done exactly on these. Where a result
is no polynomial (a quotient that leaves a remainder, a comparison that depends on the batch), :class:`Varies` is raised
and the model is read once more at one batch.

Comparisons take the batch as at least 2, as PyTorch's exporter does: what a file does differently for a single sample it
does for one batch only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..._foundation.expr import Expr, const, sym

BATCH = "batch"
LEAST = 2  # the smallest batch that comparisons assume
MOST_DEGREE = 6
LARGEST = 2**100  # of a coefficient: sizes beyond are no sizes


class Varies(Exception):
    """A size or decision that is no polynomial in the batch."""


class Poly:
    """c0 + c1·batch + c2·batch² …; immutable, never constant (constants are plain numbers)."""

    __slots__ = ("coefs",)

    def __init__(self, coefs: tuple[int, ...]) -> None:
        self.coefs = coefs

    def __repr__(self) -> str:
        return " + ".join(f"{c}·batch^{i}" for i, c in enumerate(self.coefs) if c)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.coefs == other.coefs

    def __hash__(self) -> int:
        return hash(self.coefs)

    def __add__(self, other: Any) -> Size:
        a, b = self.coefs, _coefs(other)
        width = max(len(a), len(b))
        return _made(x + y for x, y in zip(_padded(a, width), _padded(b, width), strict=True))

    __radd__ = __add__

    def __neg__(self) -> Size:
        return _made(-c for c in self.coefs)

    def __sub__(self, other: Any) -> Size:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Size:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Size:
        a, b = self.coefs, _coefs(other)
        result = [0] * (len(a) + len(b) - 1)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                result[i + j] += x * y
        return _made(result)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Size:
        quotient, rest = _divided(self.coefs, _coefs(other))
        if rest == 0 or not isinstance(other, Poly):
            return quotient
        raise Varies(f"({self}) / ({other}) leaves a remainder")

    def __rfloordiv__(self, other: Any) -> Size:
        if other == 0:
            return 0
        raise Varies(f"{other} divided by the batch")

    def __truediv__(self, other: Any) -> Size:
        quotient, rest = _divided(self.coefs, _coefs(other))
        if rest == 0:
            return quotient
        raise Varies(f"({self}) / ({other}) is no whole number")

    def __rtruediv__(self, other: Any) -> Size:
        return self.__rfloordiv__(other)

    def __mod__(self, other: Any) -> Size:
        rest = _divided(self.coefs, _coefs(other))[1]
        if rest == 0 or not isinstance(other, Poly):
            return rest
        raise Varies(f"({self}) modulo {other}")

    def __lt__(self, other: Any) -> bool:
        return sign(self - other) < 0

    def __gt__(self, other: Any) -> bool:
        return sign(self - other) > 0

    def __le__(self, other: Any) -> bool:
        return sign(self - other) <= 0

    def __ge__(self, other: Any) -> bool:
        return sign(self - other) >= 0

    def __abs__(self) -> Size:
        return self if sign(self) >= 0 else -self

    def at(self, batch: int) -> int:
        return sum(c * batch**i for i, c in enumerate(self.coefs))


Size = int | Poly
FREE = Poly((0, 1))


def _coefs(value: Any) -> tuple[int, ...]:
    if isinstance(value, Poly):
        return value.coefs
    if value == int(value):
        return (int(value),)
    raise Varies(f"the batch meets {value}")


def _padded(coefs: tuple[int, ...], width: int) -> tuple[int, ...]:
    return coefs + (0,) * (width - len(coefs))


def _made(coefs: Iterable[int]) -> Size:
    found = list(coefs)
    while len(found) > 1 and found[-1] == 0:
        found.pop()
    if len(found) > MOST_DEGREE + 1:
        raise Varies(f"a size grows with the batch to the power {len(found) - 1}")
    if max(map(abs, found)) > LARGEST:
        raise Varies("a size beyond all bounds")
    return found[0] if len(found) == 1 else Poly(tuple(found))


def _divided(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[Size, Size]:
    """(quotient, rest); by a number it is floor division, where all but the constant part divide exactly."""
    if b == (0,):
        raise Varies("a division by 0")
    if len(b) == 1:
        if any(c % b[0] for c in a[1:]):
            raise Varies("a quotient that is no polynomial in the batch")
        return _made(c // b[0] for c in a), a[0] % b[0]
    rest, quotient = list(a), [0] * max(len(a) - len(b) + 1, 1)
    for place in range(len(a) - len(b), -1, -1):
        factor, left = divmod(rest[place + len(b) - 1], b[-1])
        if left:
            raise Varies("a quotient that is no polynomial in the batch")
        quotient[place] = factor
        for i, c in enumerate(b):
            rest[place + i] -= factor * c
    return _made(quotient), _made(rest)


def sign(value: Size) -> int:
    """−1, 0 or 1 for every batch from :data:`LEAST` on.

    Raises:
        Varies: where it depends on the batch.
    """
    if not isinstance(value, Poly):
        return int(value > 0) - int(value < 0)
    shifted: Size = 0  # in t = batch − LEAST, whose coefficients show the sign for t ≥ 0
    power: Size = 1
    for c in value.coefs:
        shifted = shifted + power * c
        power = power * Poly((LEAST, 1))
    coefs = _coefs(shifted)
    if all(c >= 0 for c in coefs):
        if coefs[0] > 0:
            return 1
    elif all(c <= 0 for c in coefs) and coefs[0] < 0:
        return -1
    raise Varies(f"whether {value} is positive")


def product(sizes: Iterable[Size]) -> Size:
    number = 1
    result: Size = 1
    for size in sizes:
        if isinstance(size, Poly):
            result = size * result
        else:
            number *= size
    return result * number


def at(size: Size, batch: int) -> int:
    return size.at(batch) if isinstance(size, Poly) else int(size)


def to_expr(size: Size) -> Expr:
    if not isinstance(size, Poly):
        return const(int(size))
    result: Expr = const(0)
    for power, c in enumerate(size.coefs):
        if c:
            term = const(c) if power == 0 else _power(power) if c == 1 else _power(power) * c
            result = result + term
    return result


def _power(power: int) -> Expr:
    result = sym(BATCH)
    for _ in range(power - 1):
        result = result * sym(BATCH)
    return result
