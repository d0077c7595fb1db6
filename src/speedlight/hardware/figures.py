"""Figures of machine files: numbers with units and pedigree, words from a list, years and prices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .._foundation.errors import BadInput
from .._foundation.provenance import GRADES, Fact
from .._foundation.quantity import parse_quantity
from .machine import Price
from .spec import Figure, FigureSpec, PriceSpec


class Facts:
    """Collects the pedigree of each figure while it is read."""

    def __init__(self, default_grade: str, sources: dict[str, str]) -> None:
        self.default = one_of(default_grade, GRADES, "grade")
        self.sources = sources
        self.only_source = next(iter(sources.values())) if len(sources) == 1 else ""
        self.facts: dict[str, Fact] = {}

    def read(self, figure: Figure, unit: str, path: str, *, zero: bool = False) -> float:
        """One figure in SI, remembered under its path.

        Args:
            figure: number, string with unit, or record.
            unit: the unit expected, empty for counts.
            path: dotted path, for messages and for the machine's ``facts``.
            zero: whether 0 is a value (latencies) or nonsense (rates, sizes).

        Raises:
            BadInput: if it is no positive finite number of that unit, or claims a grade without a source.
        """
        spec = figure if isinstance(figure, FigureSpec) else FigureSpec(figure)
        grade = one_of(spec.grade or self.default, GRADES, f"{path}: grade")
        try:
            value = parse_quantity(spec.value, unit)
        except BadInput as error:
            raise BadInput(f"{path}: {error.message}", expected=error.expected) from None
        except OverflowError:
            raise BadInput(f"{path} is out of range", expected="a positive number") from None
        if value < 0 or (value == 0 and not zero):
            raise BadInput(f"{path} is {value:g}", expected="a number of at least 0" if zero else "a positive number")
        source = self.sources.get(spec.source, spec.source)
        if grade != "assumed" and not source:
            source = self.only_source
            if not source:
                raise BadInput(
                    f"{path} is graded {grade} without a source",
                    expected="a source, or grade: assumed",
                    hint="write {value: …, source: …}, or one entry under sources",
                )
        if spec.note:
            source = f"{source} ({spec.note})" if source else spec.note
        self.facts[path] = Fact(value, grade, source)
        return value

    def optional(self, figure: Figure | None, unit: str, path: str, default: float | None = None) -> Any:
        """Like :meth:`read`, but what is left out is ``default``, graded assumed, or None: unknown."""
        if figure is None:
            if default is not None:
                self.facts[path] = Fact(default, "assumed", "default of this kind of part")
            return default
        return self.read(figure, unit, path, zero=True)


def one_of(value: str, allowed: tuple[str, ...], what: str) -> Any:
    if value not in allowed:
        raise BadInput(f"{what} is {value!r}", expected="one of " + ", ".join(allowed))
    return value


def distinct(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            raise BadInput(f"{what} {name!r} is {'stated twice' if name else 'empty'}", expected="one name each")
        seen.add(name)


def year_of(year: int | None) -> int | None:
    if year is not None and not 1940 <= year <= 2100:
        raise BadInput(f"release_year is {str(year)[:12]}", expected="a year, like 2022")
    return year


def price_of(spec: PriceSpec | None) -> Price:
    if spec is None:
        return Price()
    if not spec.usd_per_hour >= 0 or not math.isfinite(spec.usd_per_hour):
        raise BadInput(f"price.usd_per_hour is {spec.usd_per_hour:g}", expected="dollars an hour and device")
    return Price(spec.usd_per_hour, spec.date, spec.source)


def ratio_of(figure: Figure | None, facts: Facts, path: str, default: float) -> float:
    """A figure of at least 1, or the default, which claims nothing."""
    value = default if figure is None else facts.read(figure, "", path)
    if value < 1:
        raise BadInput(f"{path} is {value:g}", expected="at least 1")
    return value


def part_of(figure: Figure | None, facts: Facts, path: str, default: float) -> float:
    """A share between 0 and 1; nothing gets through where all is lost or the link is never there."""
    value = default if figure is None else facts.read(figure, "", path, zero=True)
    if not 0 <= value <= 1 or (value == 1 - default):
        raise BadInput(f"{path} is {value:g}", expected="0 to 1, and a link that carries something")
    return value
